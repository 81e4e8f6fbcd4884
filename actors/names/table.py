"""Read and write the table `names` in bulk."""

import random
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import bindparam, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.esi.answer import EsiName
from actors.names.cache import Known
from actors.names.ids import RANGES, Kind, max_age
from actors.shared.among import among
from actors.shared.database import reading
from actors.shared.rows import Columns, insert_missing
from actors.shared.tables import NAMES

CANDIDATES: Final = 50


async def read_names(database: AsyncEngine, ids: Collection[int]) -> dict[int, Known]:
    """Read the stored names of these ids."""
    async with reading(database) as connection:
        rows = (await connection.execute(select(NAMES).where(among(NAMES.c.id, ids)))).all()
    return {row.id: _known(row.id, row.name, row.checked_at) for row in rows}


async def write_names(
    database: AsyncEngine, found: Sequence[EsiName], nameless: Collection[int] = ()
) -> dict[int, Known]:
    """Store ESI's response; return the stored names.

    An id that ESI doesn't resolve keeps its former name.
    """
    named = {entity.id: entity for entity in found}
    ids = sorted({*named, *nameless})  # concurrent writers lock in one order
    now = datetime.now(UTC)
    columns: Columns = {
        "id": ids,
        "name": [named[id_].name if id_ in named else None for id_ in ids],
        "category": [named[id_].category if id_ in named else None for id_ in ids],
    }
    async with database.begin() as connection:
        new = set(await insert_missing(connection, NAMES, columns, checked_at=now))
        if existing := [row for row in zip(*columns.values(), strict=True) if row[0] not in new]:
            parameters = [f"{column}_" for column in columns]
            rows = [
                {**dict(zip(parameters, row, strict=True)), "checked_at_": now} for row in existing
            ]
            await connection.execute(_UPDATE_CHECKED, rows)
    known = {id_: _known(id_, entity.name, now) for id_, entity in named.items()}
    return known | (await read_names(database, nameless) if nameless else {})


async def one_known(database: AsyncEngine, kind: Kind, excluded: Collection[int]) -> int | None:
    """Pick a random id of a kind that has a name; None when there is none."""
    within = [NAMES.c.id.between(ids.start, ids.stop - 1) for ids, other in RANGES if other == kind]
    query = (
        select(NAMES.c.id)
        .where(or_(*within), NAMES.c.name.is_not(None))
        .order_by(NAMES.c.id.desc())
        .limit(CANDIDATES + len(excluded))
    )
    async with reading(database) as connection:
        ids = [row.id for row in await connection.execute(query) if row.id not in excluded]
    return random.choice(ids) if ids else None


def _known(id_: int, name: str | None, checked_at: datetime) -> Known:
    return Known(name, (checked_at + max_age(id_, name)).timestamp())


_UPDATE_CHECKED: Final = (
    update(NAMES)
    .where(NAMES.c.id == bindparam("id_"))
    .values(
        name=func.coalesce(bindparam("name_"), NAMES.c.name),
        category=func.coalesce(bindparam("category_"), NAMES.c.category),
        checked_at=bindparam("checked_at_"),
    )
)
