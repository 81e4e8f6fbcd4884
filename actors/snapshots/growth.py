"""The views that compare the snapshots of alliances and corporations over days."""

from typing import Any, Final

from sqlalchemy import ColumnClause, Date, TableClause, column, table

STOCKS: Final = ("members", "corporations")
"""What a day's snapshot says of that day alone; absent without ESI's word."""
FLOWS: Final = ("kills", "losses", "ships_destroyed", "ships_lost", "isk_destroyed", "isk_lost")
"""What is added up over days; a day without a snapshot counts 0."""
PERIODS: Final = (1, 7, 30)
"""Days over which the views compare."""


def _view(name: str, key: str, *stocks: str) -> TableClause:
    """Describe a view of `schema.sql`. A row is absent when all that it compares is."""
    compared: list[ColumnClause[Any]] = [
        column(f"{number}{suffix}")
        for number in (*stocks, *FLOWS)
        for suffix in ("", "_delta", "_growth")
    ]
    return table(name, column(key), column("day", Date), column("days"), *compared)


ALLIANCE_GROWTH: Final = _view("alliance_growth", "alliance_id", *STOCKS)
CORPORATION_GROWTH: Final = _view("corporation_growth", "corporation_id", "members")
