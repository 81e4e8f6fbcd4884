"""The static universe as this process knows it."""

from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, select
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.database import reading, reading_one_state
from actors.shared.finding.universe import NOT_LOADED, Universe, read_universe
from actors.shared.tables import UNIVERSE

_known: WeakKeyDictionary[Engine, Universe] = WeakKeyDictionary()
"""By database, as of the last call."""


async def current_universe(database: AsyncEngine) -> Universe:
    """Return the universe that is loaded; reads it only when it is another than at the last call.

    What is loaded while a transaction stores killmails isn't in it: see `actors/killmails/relist`.
    """
    known = _known.get(database.sync_engine, NOT_LOADED)
    async with reading(database) as connection:
        loaded_at = await connection.scalar(select(UNIVERSE.c.loaded_at))
    if loaded_at == known.loaded_at:
        return known
    async with reading_one_state(database) as connection:

        async def read(query: Any) -> Any:
            return (await connection.execute(query)).all()

        universe = await read_universe(read)
    _known[database.sync_engine] = universe
    return universe
