"""The actor that audits days, a part at a time."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from time import monotonic
from typing import Final

import aiohttp
import structlog
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.broker import HISTORY_QUEUE, actor
from actors.completeness.audit import audit_day
from actors.completeness.choose import GAP_DAYS, choose
from actors.completeness.facts import days_between
from actors.history import r2z2
from actors.history.errors import Banned, NoSuchDay, Unreadable
from actors.resources import resources
from actors.shared.errors import RetryLater
from actors.shared.rows import upsert
from actors.shared.settings import Settings
from actors.shared.tables import COMPLETENESS_DAYS, GAPS

log: Final = structlog.get_logger()

WORKS_FOR_S: Final = 45.0
"""How long one message works; the next one goes on."""
MOST_FAILURES: Final = 3
"""Lists that can't be read, after which a run ends."""
BATCH: Final = 500
"""Days in one transaction."""
UNTIL_LATER: Final = timedelta(days=30)
"""When what we have is counted again of a day that isn't imported."""


@actor(queue_name=HISTORY_QUEUE, priority=9, scheduled=True)
async def audit() -> None:
    """Audit the days that are due, and begin their repairs. Idempotent."""
    opened = resources()
    try:
        await audit_due(
            opened.settings, opened.database, opened.http, until_s=monotonic() + WORKS_FOR_S
        )
    except RetryLater as error:
        log.warning("completeness.postponed", reason=str(error))


async def audit_due(
    settings: Settings, database: AsyncEngine, http: aiohttp.ClientSession, *, until_s: float
) -> None:
    """Audit due days until `until_s` of `time.monotonic`, at least one.

    Raises:
        RetryLater: zKillboard fails, or bans this address.
    """
    totals = await r2z2.totals(settings, http, database)
    due = await choose(database, totals)
    await _note_not_imported(database, totals, due.not_imported)
    failed = 0
    for number, day in enumerate(due.days):
        if number and monotonic() >= until_s:
            break
        try:
            await audit_day(settings, database, http, day, totals[day])
        except (NoSuchDay, Unreadable) as error:
            log.warning("completeness.no_list", day=str(day), reason=str(error))
        except Banned:
            raise
        except RetryLater as error:  # of this day, unless the upstream is away
            failed += 1
            if failed >= MOST_FAILURES:
                raise
            log.warning("completeness.no_list", day=str(day), reason=str(error))
    await forget_filled_gaps(database)


async def _note_not_imported(
    database: AsyncEngine, totals: Mapping[date, int], have: Mapping[date, int]
) -> None:
    now, days = datetime.now(UTC), sorted(have)
    for start in range(0, len(days), BATCH):
        async with database.begin() as connection:
            for day in days[start : start + BATCH]:
                found = {
                    "upstream_total": totals[day],
                    "have": have[day],
                    "missing": max(0, totals[day] - have[day]),
                    "state": "not_imported",
                    "checked_at": now,
                    "next_check_at": now + UNTIL_LATER,
                }
                await upsert(connection, COMPLETENESS_DAYS, {"day": day}, found)


async def forget_filled_gaps(database: AsyncEngine) -> int:
    """Delete the gaps whose days were audited since, and lack nothing that can be had."""
    filled = 0
    async with database.begin() as connection:
        rows = await connection.execute(days_between(date.min, date.max))
        checked = {
            row.day: row.checked_at
            for row in rows
            if row.state in ("complete", "incomplete") and row.missing == row.unobtainable
        }
        for gap in (await connection.execute(select(GAPS).with_for_update())).all():
            last = gap.recorded_at.date()
            if all(
                day in checked and checked[day] > gap.recorded_at for day in (last - GAP_DAYS, last)
            ):
                is_it = (GAPS.c.source == gap.source, GAPS.c.first_position == gap.first_position)
                await connection.execute(delete(GAPS).where(*is_it))
                filled += 1
                log.info(
                    "gap.filled",
                    source=gap.source,
                    first_position=gap.first_position,
                    last_position=gap.last_position,
                )
    return filled
