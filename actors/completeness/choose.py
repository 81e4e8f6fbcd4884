"""Choose the days that are due for an audit."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.shared.database import reading
from actors.shared.tables import COMPLETENESS_DAYS, GAPS, HISTORY_DAYS, KILLMAIL_DAYS, KILLMAILS

RECENT: Final = timedelta(days=14)
"""Days that are audited each day."""
PUBLISHED_AT: Final = time(6, tzinfo=UTC)
"""When zKillboard has written the list of the day before."""
ROTATION: Final = 2
"""Older days that are audited in one run though nothing says that they changed."""
COUNTED: Final = 50
"""Days that were never audited, of which what we have is counted in one run."""
GAP_DAYS: Final = timedelta(days=1)
"""The killmails of a gap are of the day on which it was recorded, or of the one before."""


class Due(NamedTuple):
    """What is to be done in one run."""

    days: list[date]
    """To be audited, the most urgent first."""
    not_imported: dict[date, int]
    """Days of which most isn't here, and nobody asked for it: how many killmails are."""


async def choose(
    database: AsyncEngine, totals: Mapping[date, int], *, now: datetime | None = None
) -> Due:
    """Choose days: those of gaps first, those under repair, recent ones, changed ones, the oldest.

    Only days are audited, and repaired, that are recent, were imported, or of which we have half.
    """
    now = now or datetime.now(UTC)
    async with reading(database) as connection:
        rows = {row.day: row for row in await connection.execute(select(COMPLETENESS_DAYS))}
        of_gaps = await gap_days(connection)
        done = select(HISTORY_DAYS.c.day).where(HISTORY_DAYS.c.state == "done")
        held = set(await connection.scalars(done))
        some = set(await connection.scalars(select(KILLMAIL_DAYS.c.day)))
        ranked: list[_Ranked] = []
        not_imported: dict[date, int] = {}
        counted = 0
        for day, total in sorted(totals.items(), reverse=True):
            row = rows.get(day)
            is_ours = now.date() - day <= RECENT or day in held or day in of_gaps
            if not is_ours and (row is None or row.state == "not_imported"):
                if row and row.upstream_total == total and row.next_check_at > now:
                    continue
                have = 0
                if day in some:
                    if counted >= COUNTED:
                        continue
                    counted += 1
                    have = await _have(connection, day)
                if 2 * have < total:
                    not_imported[day] = have
                    continue
            if (urgency := _urgency(row, day, total, of_gaps, now)) is not None:
                age_s = (now - row.checked_at).total_seconds() if row else 0.0
                ranked.append(_Ranked(urgency, -age_s, -day.toordinal(), day))
    return Due(_limited(ranked), not_imported)


class _Ranked(NamedTuple):
    """A day in the order of urgency; of the same, what wasn't checked for longest, then newest."""

    urgency: int
    age_s: float
    newest: int
    day: date


def _limited(ranked: list[_Ranked]) -> list[date]:
    ordered = sorted(ranked)
    rotated = [one for one in ordered if one.urgency == OLD][:ROTATION]
    return [one.day for one in [*(one for one in ordered if one.urgency < OLD), *rotated]]


GAP, REPAIRING, NEW, CHANGED, DAILY, OLD = range(6)


def _urgency(
    row: Any, day: date, total: int, of_gaps: Mapping[date, datetime], now: datetime
) -> int | None:
    """Return how urgent a day is, lower is more; None when it isn't due."""
    if row is None:
        return GAP if day in of_gaps else NEW
    if day in of_gaps and row.checked_at < of_gaps[day]:
        return GAP
    if row.next_check_at > now and row.upstream_total == total:
        return None
    if row.state == "repairing":
        return REPAIRING if row.next_check_at <= now else None
    if row.upstream_total != total:
        return CHANGED
    if now.date() - day <= RECENT:
        return DAILY if now.timetz() >= PUBLISHED_AT else None
    return OLD


async def gap_days(connection: AsyncConnection) -> dict[date, datetime]:
    """Return the days whose killmails may be in gaps, with the time of the gap's record."""
    found: dict[date, datetime] = {}
    for row in await connection.execute(select(GAPS.c.recorded_at)):
        last = row.recorded_at.date()
        for day in (last - GAP_DAYS, last):
            found[day] = max(found.get(day, row.recorded_at), row.recorded_at)
    return found


async def _have(connection: AsyncConnection, day: date) -> int:
    begin, time_ = datetime.combine(day, time(), UTC), KILLMAILS.c.killmail_time
    query = select(func.count()).where(time_ >= begin, time_ < begin + timedelta(days=1))
    return int(await connection.scalar(query) or 0)
