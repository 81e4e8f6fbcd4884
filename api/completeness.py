"""Resolver of `completeness`."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final

from ariadne import ObjectType, QueryType

from actors.completeness.facts import days_between
from api.context import Info
from api.errors import BadInput

MAX_DAYS: Final = 400

COMPLETENESS_QUERY: Final = QueryType()
COMPLETENESS_DAY: Final = ObjectType("CompletenessDay")
for _field, _column in {
    "upstreamTotal": "upstream_total",
    "hashDiffers": "hash_differs",
    "checkedAt": "checked_at",
}.items():
    COMPLETENESS_DAY.set_field(_field, lambda row, _, column=_column: row[column])

COMPLETENESS_TYPES: Final = (COMPLETENESS_QUERY, COMPLETENESS_DAY)


@COMPLETENESS_QUERY.field("completeness")
async def resolve_completeness(_: None, info: Info, **arguments: str) -> list[dict[str, Any]]:
    """Return what audits found of the days of a range."""
    first, last = days_of(arguments)
    rows = await info.context.state.database.fetch_all(days_between(first, last))
    return [dict(row._mapping) for row in rows]


def days_of(arguments: Mapping[str, str]) -> tuple[date, date]:
    """Read the arguments `from` and `to`, both included.

    Raises:
        BadInput: they aren't days, or too far apart.
    """
    first, last = (_day(name, arguments[name]) for name in ("from", "to"))
    if not timedelta() <= last - first < timedelta(days=MAX_DAYS):
        raise BadInput(f"to: must be 0 to {MAX_DAYS - 1} days after from")
    return first, last


def _day(name: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{name}: must be a day like 2026-01-31") from None
