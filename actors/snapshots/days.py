"""The days that have killmails, and which of them are to be computed."""

from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Select, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.shared.among import among
from actors.shared.rows import Columns, insert_missing
from actors.shared.tables import SNAPSHOT_DAYS

AGAIN: Final = timedelta(minutes=30)
"""Shortest time between two computations of a day."""


async def mark_changed(connection: AsyncConnection, days: Collection[date]) -> None:
    """Have days computed anew. One caller at a time: the rows are locked in no order."""
    now = datetime.now(UTC)
    columns: Columns = {"day": sorted(days), "changed_at": [now] * len(days)}
    await insert_missing(connection, SNAPSHOT_DAYS, columns)
    known = among(SNAPSHOT_DAYS.c.day, days) & (SNAPSHOT_DAYS.c.changed_at < now)
    await connection.execute(update(SNAPSHOT_DAYS).where(known).values(changed_at=now))


def changed_days(*, again: timedelta = AGAIN) -> Select[Any]:
    """Select the days that changed after they were computed, newest first."""
    computed_at = SNAPSHOT_DAYS.c.computed_at
    is_due = (computed_at <= SNAPSHOT_DAYS.c.changed_at) & (
        computed_at <= datetime.now(UTC) - again
    )
    return (
        select(SNAPSHOT_DAYS.c.day)
        .where(or_(computed_at.is_(None), is_due))
        .order_by(SNAPSHOT_DAYS.c.day.desc())
    )
