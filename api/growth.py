"""Snapshots, metrics and charts of alliances and corporations."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Table, TableClause, select

from actors.entities.kinds import ALLIANCE, CORPORATION
from actors.shared.tables import ALLIANCE_SNAPSHOTS, CORPORATION_SNAPSHOTS
from actors.snapshots.growth import (
    ALLIANCE_GROWTH,
    CORPORATION_GROWTH,
    FLOWS,
    PERIODS,
    STOCKS,
)
from api.context import Info
from api.errors import BadInput
from api.objects import Entity

MAX_DAYS: Final = 400

_SNAPSHOTS: Final[Mapping[str, Table]] = {
    ALLIANCE.name: ALLIANCE_SNAPSHOTS,
    CORPORATION.name: CORPORATION_SNAPSHOTS,
}
_GROWTH: Final[Mapping[str, TableClause]] = {
    ALLIANCE.name: ALLIANCE_GROWTH,
    CORPORATION.name: CORPORATION_GROWTH,
}


async def resolve_snapshots(entity: Entity, info: Info, days: int) -> list[dict[str, Any]]:
    """Return the last days that have a snapshot."""
    found = await _last_days(entity, info, days)
    return [_snapshot(day, found[day]) for day in sorted(found)]


async def resolve_chart(entity: Entity, info: Info, days: int) -> dict[str, list[Any]]:
    """Return the last days as arrays."""
    found = await _last_days(entity, info, days)
    every = [_today() - timedelta(days=back) for back in reversed(range(days))]
    chart = [_snapshot(day, found.get(day, {})) for day in every]
    names = [_camel(name) for name in (*STOCKS, *FLOWS)]
    return {"days": [one["day"] for one in chart]} | {
        name: [one[name] for one in chart] for name in names
    }


async def resolve_metrics(entity: Entity, info: Info, day: str | None = None) -> dict[str, Any]:
    """Return deltas and growth."""
    last = _read_day(day) if day is not None else _today() - timedelta(days=1)
    kind = entity.kind
    view = _GROWTH[kind.name]
    query = select(view).where(view.c[kind.key.name] == entity.number, view.c.day == last)
    rows: Sequence[Any] = await info.context.state.database.fetch_all(query)
    found = {row["days"]: dict(row._mapping) for row in rows}
    return {"day": str(last)} | {
        f"over{days}Day" + ("s" if days > 1 else ""): _changes(found.get(days, {}), days)
        for days in PERIODS
    }


def _changes(row: Mapping[str, Any], days: int) -> dict[str, Any]:
    changes = {name: _change(row, name, None) for name in STOCKS}
    changes |= {name: _change(row, name, 0) for name in FLOWS}
    return {"days": days} | {_camel(name): one for name, one in changes.items()}


def _change(row: Mapping[str, Any], name: str, absent: int | None) -> dict[str, Any]:
    return {
        "value": row.get(name, absent),
        "delta": row.get(f"{name}_delta", absent),
        "growth": row.get(f"{name}_growth"),
    }


async def _last_days(entity: Entity, info: Info, days: int) -> dict[date, Mapping[str, Any]]:
    if not 1 <= days <= MAX_DAYS:
        raise BadInput(f"days: must be 1 to {MAX_DAYS}, not {days}")
    return await _read(entity, info, _today() - timedelta(days=days - 1), _today())


async def _read(
    entity: Entity, info: Info, first: date, last: date
) -> dict[date, Mapping[str, Any]]:
    kind = entity.kind
    table = _SNAPSHOTS[kind.name]
    query = select(table).where(
        table.c[kind.key.name] == entity.number, table.c.day.between(first, last)
    )
    rows: Sequence[Any] = await info.context.state.database.fetch_all(query)
    return {row["day"]: dict(row._mapping) for row in rows}


def _snapshot(day: date, row: Mapping[str, Any]) -> dict[str, Any]:
    stocks = {_camel(name): row.get(name) for name in STOCKS}
    return {"day": str(day)} | stocks | {_camel(name): row.get(name, 0) for name in FLOWS}


def _read_day(text: str) -> date:
    try:
        day = datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 # a day has no zone
        return max(day, date(2003, 1, 1))
    except ValueError:
        raise BadInput("day: must be YYYY-MM-DD") from None


def _today() -> date:
    return datetime.now(UTC).date()


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)
