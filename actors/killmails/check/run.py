"""Check all killmails block by block, or a sample of them."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from time import monotonic

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.check.findings import Findings
from actors.killmails.check.inspect import inspect_block, inspect_some
from actors.killmails.check.repair import repair
from actors.killmails.check.state import (
    begin_repair,
    end_repair,
    mark_repaired,
    repaired_blocks,
)
from actors.killmails.check.surplus import find_surplus
from actors.shared.database import reading
from actors.shared.finding.kinds import BLOCK_BITS
from actors.shared.tables import KILLMAILS

OnProgress = Callable[[int, float], None]
"""Called with the killmails that were checked, and the share of all that is done."""


@dataclass
class Outcome:
    """What a check has found and done."""

    mended: bool
    skipped_blocks: int = 0
    """Blocks that an interrupted repair had done before."""
    is_whole: bool = False
    """Whether all killmails were checked, those of skipped blocks by the run before."""
    killmails: int = 0
    differing: Counter[str] = field(default_factory=Counter)
    """Killmails by what differs; one may differ in several ways."""

    @property
    def remaining(self) -> int:
        """How many still differ."""
        return self.differing["unreadable"] if self.mended else self.differing.total()


async def check_all(
    database: AsyncEngine,
    *,
    mend: bool,
    restart: bool = False,
    until_s: float = inf,
    on_progress: OnProgress = lambda *_: None,
) -> Outcome:
    """Check all killmails; with `mend`, repair what differs.

    A repair that was interrupted goes on where it was, unless the static universe was loaded since:
    what was damaged since in the blocks that it had done isn't found, except with `restart`. After
    a whole one, all killmails can be found.

    Args:
        database: Where.
        mend: Whether to repair.
        restart: Repair from the start what an interrupted run has done.
        until_s: The time, of `time.monotonic`, after which only the first block is begun.
        on_progress: Called after each block.
    """
    rows_by_block: dict[int, int] = {}
    if mend:
        universe = await begin_repair(database, restart=restart)
        rows_by_block = await repaired_blocks(database)
    outcome = Outcome(mend, skipped_blocks=len(rows_by_block))
    low, high = await _bounds(database)
    block = await _next_block(database, -1)
    while block is not None:
        if block not in rows_by_block:
            if outcome.killmails and monotonic() >= until_s:
                return outcome
            found, _ = await inspect_block(database, block)
            await _take(database, outcome, found)
            rows_by_block[block] = found.rows
            if mend:
                await mark_repaired(database, block, found.rows)
        done = ((block + 1 << BLOCK_BITS) - low) / max(high - low, 1)
        on_progress(outcome.killmails, min(done, 1.0))
        block = await _next_block(database, block)
    await _take(database, outcome, await find_surplus(database, rows_by_block))
    if mend:
        await end_repair(database, universe)
    outcome.is_whole = True
    return outcome


async def check_sample(database: AsyncEngine, count: int) -> Outcome:
    """Check killmails that are chosen at random."""
    outcome = Outcome(mended=False)
    low, high = await _bounds(database)
    chosen: set[int] = set()
    async with reading(database) as connection:
        for _ in range(count if high > low else 0):
            at_least = KILLMAILS.c.killmail_id >= random.randint(low, high - 1)
            query = select(func.min(KILLMAILS.c.killmail_id)).where(at_least)
            chosen.add(await connection.scalar(query) or low)
    await _take(database, outcome, await inspect_some(database, sorted(chosen)))
    return outcome


async def _take(database: AsyncEngine, outcome: Outcome, found: Findings) -> None:
    if outcome.mended:
        await repair(database, found)
    outcome.killmails += found.killmails
    outcome.differing.update(found.counts())


async def _bounds(database: AsyncEngine) -> tuple[int, int]:
    """Return the lowest killmail id, and the highest and one; twice 0 without any."""
    column = KILLMAILS.c.killmail_id
    async with reading(database) as connection:
        row = (await connection.execute(select(func.min(column), func.max(column)))).one()
    return (0, 0) if row[0] is None else (row[0], row[1] + 1)


async def _next_block(database: AsyncEngine, block: int) -> int | None:
    column = KILLMAILS.c.killmail_id
    query = select(func.min(column)).where(column >= block + 1 << BLOCK_BITS)
    async with reading(database) as connection:
        killmail_id: int | None = await connection.scalar(query)
    return None if killmail_id is None else killmail_id >> BLOCK_BITS
