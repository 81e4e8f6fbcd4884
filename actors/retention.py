"""Remove rejected records and gaps by age, as the settings say."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from prometheus_client import Counter
from sqlalchemy import Column, Table, delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.broker import DATABASE_QUEUE, actor
from actors.resources import resources
from actors.shared.settings import Settings
from actors.shared.tables import GAPS, REJECTED

log: Final = structlog.get_logger()

BATCH: Final = 500
"""Rows that are deleted in one transaction."""
PAUSE_S: Final = 0.1
"""Between batches: on SQLite a writer that waits for the lock polls for it at such intervals."""
WORKS_FOR_S: Final = 45.0
"""How long one message works; the next one goes on."""

REMOVED: Final = Counter(
    "killstream_records_removed",
    "Rejected records and gaps removed by age. Rises: they can't be retried or filled any more; "
    "if that is too early, raise KILLSTREAM_REJECTED_DAYS or KILLSTREAM_GAPS_DAYS.",
    ["table"],
)


@actor(queue_name=DATABASE_QUEUE, priority=0, scheduled=True)
async def remove_expired() -> None:
    """Remove what is older than the settings allow. Idempotent; safe to run at once elsewhere."""
    opened = resources()
    await remove_by_age(opened.database, opened.settings)


async def remove_by_age(database: AsyncEngine, settings: Settings) -> None:
    """Remove what is older than the settings allow; count and log it."""
    until_s = time.monotonic() + WORKS_FOR_S
    for written_at, days in _retentions(settings):
        before = datetime.now(UTC) - timedelta(days=days)
        rows = await _remove_before(database, written_at, before, until_s)
        if rows:
            name = written_at.table.name
            REMOVED.labels(table=name).inc(rows)
            log.info("retention.removed", table=name, rows=rows, days=days)


def _retentions(settings: Settings) -> list[tuple[Column[datetime], int]]:
    """List the columns with the time of a row, and the days from then on; without what stays."""
    all_days = (
        (REJECTED.c.rejected_at, settings.rejected_days),
        (GAPS.c.recorded_at, settings.gaps_days),  # of the last growth: adjacent gaps are merged
    )
    return [(column, days) for column, days in all_days if days]


async def _remove_before(
    database: AsyncEngine, written_at: Column[datetime], before: datetime, until_s: float
) -> int:
    """Delete a table's rows that are older than a time, oldest first; return their number.

    Rows that another transaction holds, such as records that are retried, are left to the next
    call, and so is what remains at `until_s`.
    """
    table = written_at.table
    assert isinstance(table, Table)
    key = tuple_(*table.primary_key)
    oldest = (
        select(*table.primary_key)
        .where(written_at < before)
        .order_by(written_at)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    removed = 0
    while True:
        async with database.begin() as connection:
            rows = (await connection.execute(delete(table).where(key.in_(oldest)))).rowcount
        removed += rows
        if rows < BATCH or time.monotonic() >= until_s:
            return removed
        await asyncio.sleep(PAUSE_S)
