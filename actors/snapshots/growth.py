"""Deltas and growth of an alliance or corporation, from its snapshots. No I/O."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final, NamedTuple

STOCKS: Final = ("members", "corporations")
"""What a day's snapshot says of that day alone; absent without ESI's word."""
FLOWS: Final = ("kills", "losses", "ships_destroyed", "ships_lost", "isk_destroyed", "isk_lost")
"""What is added up over days; a day without a snapshot counts 0."""
PERIODS: Final = (1, 7, 30)
"""Days over which metrics compare."""
DAYS_BACK: Final = 2 * max(PERIODS)
"""How many days of snapshots the metrics of one day need."""

Snapshot = Mapping[str, Any]


class Change(NamedTuple):
    """How a number changed."""

    value: float | None
    """Of the day, or added up over the period."""
    delta: float | None
    """Against the day that many days before, or the period before; None when one is absent."""
    growth: float | None
    """The delta as a part of the former value; None when that is 0 or absent."""


def growth(snapshots: Mapping[date, Snapshot], day: date, days: int) -> dict[str, Change]:
    """Compare a day, and the period that ends with it, with those before.

    Args:
        snapshots: by day; must reach back `2 * days`.
        day: the last day of the period.
        days: length of the period.
    """
    before = day - timedelta(days=days)
    changes = {name: _of_stock(snapshots, name, day, before) for name in STOCKS}
    for name in FLOWS:
        now, former = _total(snapshots, name, day, days), _total(snapshots, name, before, days)
        changes[name] = _change(now, former)
    return changes


def _of_stock(snapshots: Mapping[date, Snapshot], name: str, day: date, before: date) -> Change:
    now, former = (snapshots.get(at, {}).get(name) for at in (day, before))
    return _change(now, former)


def _total(snapshots: Mapping[date, Snapshot], name: str, last: date, days: int) -> float:
    period = (last - timedelta(days=back) for back in range(days))
    total: float = sum(snapshots.get(day, {}).get(name, 0) for day in period)
    return total


def _change(now: float | None, former: float | None) -> Change:
    if now is None or former is None:
        return Change(now, None, None)
    delta = now - former
    return Change(now, delta, delta / former if former else None)
