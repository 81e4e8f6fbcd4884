"""Request an import of an entity's history. The schedule of imports is the table `imports`."""

from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from actors.history.zkillboard import Entity
from actors.shared.rows import insert_into
from actors.shared.tables import IMPORTS


async def request_import(
    connection: AsyncConnection,
    entity: Entity,
    entity_id: int,
    requested_by: int | None,
    *,
    again_after: timedelta = timedelta(),
) -> None:
    """Have an entity's history imported, anew when an import has ended.

    Does nothing while one runs, or when the last one was requested less than `again_after` ago.
    """
    now = datetime.now(UTC)
    anew = {
        "state": "running",
        "state_reason": None,
        "next_page": 1,
        "killmails": 0,
        "requested_by": requested_by,
        "created_at": now,
        "updated_at": now,
        "next_try_at": now,
    }
    await connection.execute(
        insert_into(connection, IMPORTS)
        .values(entity=entity, entity_id=entity_id, **anew)
        .on_conflict_do_update(
            index_elements=[IMPORTS.c.entity, IMPORTS.c.entity_id],
            set_=anew,
            where=(IMPORTS.c.state != "running") & (IMPORTS.c.created_at <= now - again_after),
        )
    )
