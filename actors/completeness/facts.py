"""Read what the audits found."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import Select, func, select

from actors.shared.tables import COMPLETENESS_DAYS, UNOBTAINABLE


def days_between(first: date, last: date) -> Select[Any]:
    """Build the query for the days of a range, each with its number of unobtainable killmails."""
    days = COMPLETENESS_DAYS.c
    unobtainable = (
        select(func.count())
        .where(UNOBTAINABLE.c.day == days.day)
        .scalar_subquery()
        .label("unobtainable")
    )
    return (
        select(COMPLETENESS_DAYS, unobtainable)
        .where(days.day >= first, days.day <= last)
        .order_by(days.day)
    )


def unobtainable_between(first: date, last: date) -> Select[Any]:
    """Build the query for the killmails of a range of days that nobody gives."""
    columns = UNOBTAINABLE.c
    return (
        select(UNOBTAINABLE)
        .where(columns.day >= first, columns.day <= last)
        .order_by(columns.day, columns.killmail_id)
    )


def totals_of(rows: Sequence[Any]) -> dict[str, int]:
    """Sum the counts of days."""
    names = ("upstream_total", "have", "missing", "hash_differs", "repaired", "unobtainable")
    return {name: sum(getattr(row, name) for row in rows) for name in names}
