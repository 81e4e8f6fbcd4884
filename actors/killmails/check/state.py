"""How far the repair under way has come, and what holds after a whole one."""

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.database import reading
from actors.shared.rows import insert_missing
from actors.shared.tables import POSTINGS_STATE, REPAIRED_BLOCKS, UNIVERSE

SETTLES_AFTER: Final = timedelta(minutes=1)
"""Until then a transaction may store killmails by the universe from before; it takes seconds."""


async def universe_to_list(database: AsyncEngine) -> datetime | None:
    """Return when the universe was loaded by which killmails have to be listed anew.

    None when they are, or when none is loaded, or it was loaded within the last minute.
    """
    listed, loaded = POSTINGS_STATE.c.universe_loaded_at, UNIVERSE.c.loaded_at
    async with reading(database) as connection:
        loaded_at: datetime | None = await connection.scalar(select(loaded))
        listed_by: datetime | None = await connection.scalar(select(listed))
    return None if loaded_at == listed_by else _settled(loaded_at)


async def begin_repair(database: AsyncEngine, *, restart: bool) -> datetime | None:
    """Forget what an interrupted repair has done if it was by another universe, or on demand.

    Returns:
        The time at which the universe was loaded by which the repair lists all killmails.
    """
    async with database.begin() as connection:
        universe = _settled(await connection.scalar(select(UNIVERSE.c.loaded_at)))
        state = (await connection.execute(select(POSTINGS_STATE).with_for_update())).one()
        if restart or state.repair_universe_loaded_at != universe:
            await connection.execute(delete(REPAIRED_BLOCKS))
            await connection.execute(
                update(POSTINGS_STATE).values(repair_universe_loaded_at=universe)
            )
    return universe


async def repaired_blocks(database: AsyncEngine) -> dict[int, int]:
    """Read the blocks that the repair under way has done, with the rows that they should have."""
    async with reading(database) as connection:
        rows = await connection.execute(select(REPAIRED_BLOCKS))
        return {row.block: row.row_count for row in rows}


async def mark_repaired(database: AsyncEngine, block: int, rows: int) -> None:
    """Record that a block is done."""
    async with database.begin() as connection:
        columns = {"block": [block], "row_count": [rows]}
        await insert_missing(connection, REPAIRED_BLOCKS, columns)


async def end_repair(database: AsyncEngine, universe: datetime | None) -> None:
    """Record that all killmails are listed, by the universe that was loaded at that time."""
    async with database.begin() as connection:
        listed = {"complete": True, "universe_loaded_at": universe}
        await connection.execute(update(POSTINGS_STATE).values(listed))
        await connection.execute(delete(REPAIRED_BLOCKS))


def _settled(loaded_at: datetime | None) -> datetime | None:
    if loaded_at is None or datetime.now(UTC) - loaded_at < SETTLES_AFTER:
        return None
    return loaded_at
