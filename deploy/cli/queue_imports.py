"""Request imports of history."""

from typing import Final, NamedTuple, cast

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.history.request import request_import
from actors.history.zkillboard import Entity
from actors.shared.tables import IMPORTS

ENTITIES: Final = ("character", "corporation", "alliance")


class EntityId(NamedTuple):
    """Whose history."""

    entity: Entity
    entity_id: int


def read_entity(text: str) -> EntityId:
    """Read `KIND/ID`.

    Raises:
        ValueError: it has another form.
    """
    entity, _, id_ = text.partition("/")
    if entity not in ENTITIES or not (id_.isascii() and id_.isdecimal()):
        raise ValueError(f"{text!r} isn't character/ID, corporation/ID or alliance/ID")
    if not 0 < int(id_) < 2**63:
        raise ValueError(f"{id_} isn't an id")
    return EntityId(cast(Entity, entity), int(id_))


async def queue_import(database: AsyncEngine, of: EntityId, *, dry_run: bool) -> bool:
    """Request an import; False when it runs already."""
    state = select(IMPORTS.c.state).where(
        IMPORTS.c.entity == of.entity, IMPORTS.c.entity_id == of.entity_id
    )
    async with database.begin() as connection:
        if await connection.scalar(state) == "running":
            return False
        if not dry_run:
            await request_import(connection, of.entity, of.entity_id, None)
    return True
