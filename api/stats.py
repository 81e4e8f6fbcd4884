"""Count killmails by day, by what they have in common, and by time; within a budget."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    func,
    literal,
    literal_column,
    null,
    select,
    union_all,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from actors.shared.among import among
from actors.shared.finding.find import find
from actors.shared.finding.stored import ROW_COST
from actors.shared.finding.tree import Tree
from actors.shared.finding.walk import QUERY_COST
from actors.shared.finding.windows import Read
from actors.shared.tables import KILLMAILS
from actors.shared.tables.columns import Utc
from api import search
from api.database import ReadDatabase
from api.objects import BANDS
from api.static_data import StaticData

Interval = Literal["hour", "day", "week", "month"]

MAX_COUNTED: Final = 1_000_000
"""Killmails that are counted by day at once; about 100 ms."""
DAYS_AT_ONCE: Final = 16
CHUNK: Final = 5_000
"""Killmails that are added up with one statement."""
HOUR_S: Final = 3_600
_COLUMNS: Final = {
    "solarSystem": "solar_system_id",
    "constellation": "solar_system_id",
    "region": "solar_system_id",
    "spaceBand": "solar_system_id",
    "shipType": "victim_ship_type_id",
    "shipGroup": "victim_ship_type_id",
    "character": "victim_character_id",
    "corporation": "victim_corporation_id",
    "alliance": "victim_alliance_id",
}
"""What killmails are grouped by, and the column that it follows from."""


@dataclass
class Sum:
    """Killmails together."""

    kills: int = 0
    total_value: float = 0.0
    unknown_values: int = 0

    def add(self, kills: int, total_value: float | None, known: int) -> None:
        """Add others."""
        self.kills += kills
        self.total_value += total_value or 0.0
        self.unknown_values += kills - known


@dataclass
class Group(Sum):
    """Those that have something in common, by time, too."""

    intervals: dict[datetime, Sum] = field(default_factory=lambda: defaultdict(Sum))


@dataclass
class Stats:
    """What was counted."""

    groups: dict[int | str | None, Group]
    complete: bool
    counted_since: datetime | None
    """The time of the oldest killmail that was counted; None if there is none."""


async def date_counts(
    database: ReadDatabase, first: date, last: date
) -> tuple[dict[date, int], bool]:
    """Count the killmails of each day, from the last one back until the budget is spent.

    Returns:
        The counts, and whether all days have one.
    """
    days = [last - timedelta(days=back) for back in range((last - first).days + 1)]
    counts: dict[date, int] = {}
    while days and sum(counts.values()) < MAX_COUNTED:
        some, days = days[:DAYS_AT_ONCE], days[DAYS_AT_ONCE:]
        parts = [_count_of(number, day) for number, day in enumerate(some)]
        union: Any = union_all(*parts)
        rows = await database.fetch_all(union)
        counts |= {some[row["number"]]: row["kills"] for row in rows}
    return counts, not days


def _count_of(number: int, day: date) -> Any:
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    time = KILLMAILS.c.killmail_time
    return select(literal_column(str(number)).label("number"), func.count().label("kills")).where(
        time >= literal(begin, Utc), time < literal(begin + timedelta(days=1), Utc)
    )


async def kill_stats(
    database: ReadDatabase, tree: Tree, group_by: str | None, interval: Interval | None
) -> Stats:
    """Add up the killmails that meet conditions, the newest first, until the budget is spent.

    Raises:
        UniverseUnknown: a condition needs the static universe, and none is loaded.
    """
    stats, all_found = await search.in_snapshot(
        database, tree, lambda read: _add_up(read, tree, group_by, interval, database.static)
    )
    stats.complete &= all_found
    return stats


async def _add_up(
    read: Read, tree: Tree, group_by: str | None, interval: Interval | None, static: StaticData
) -> Stats:
    groups: dict[int | str | None, Group] = defaultdict(Group)
    left, start, oldest = search.PAGE_BUDGET, None, None
    while True:
        page = await find(read, tree, limit=CHUNK, start=start, budget=left)
        if page.killmail_ids:
            for row in await read(_sums(page.killmail_ids, group_by, interval)):
                key = _key(group_by, row.of, static)
                groups[key].add(row.kills, row.value, row.known)
                if interval:
                    begin = _begin(row.hour, interval)
                    groups[key].intervals[begin].add(row.kills, row.value, row.known)
                oldest = row.since if oldest is None else min(oldest, row.since)
        left -= QUERY_COST + ROW_COST * len(page.killmail_ids)
        start = page.searched_to
        if start is None or not page.is_full or left <= 0:
            return Stats(groups, start is None, oldest)


def _sums(ids: list[int], group_by: str | None, interval: Interval | None) -> Select[Any]:
    columns = KILLMAILS.c
    keys: list[ColumnElement[Any]] = []
    if group_by:
        keys.append(columns[_COLUMNS[group_by]].label("of"))
    if interval:
        keys.append(_Hour(columns.killmail_time).label("hour"))
    return (
        select(
            *keys,
            *(() if group_by else (null().label("of"),)),
            func.count().label("kills"),
            func.sum(columns.total_value).label("value"),
            func.count(columns.total_value).label("known"),
            func.min(columns.killmail_time, type_=Utc()).label("since"),
        )
        .where(among(columns.killmail_id, ids))
        .group_by(*keys)
    )


def _key(group_by: str | None, id_: int | None, static: StaticData) -> int | str | None:
    if id_ is None or group_by is None:
        return id_
    if group_by == "shipGroup":
        known = static.types.get(id_)
        return known.group_id if known else None
    system = static.systems.get(id_)
    match group_by:
        case "constellation":
            return system.constellation_id if system else None
        case "region":
            return system.region_id if system else None
        case "spaceBand":
            return BANDS.get(system.band, system.band) if system else None
    return id_


def _begin(hour: int, interval: Interval) -> datetime:
    """Return when the interval of an hour since 1970 begins; weeks begin on Mondays."""
    time = datetime.fromtimestamp(hour * HOUR_S, UTC)
    if interval == "hour":
        return time
    day = time.replace(hour=0)
    match interval:
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
    return day


def order(groups: Mapping[Any, Group], first: int) -> list[tuple[Any, Group]]:
    """Order groups by their kills, the most first."""
    return sorted(groups.items(), key=lambda one: (-one[1].kills, str(one[0])))[:first]


class _Hour(FunctionElement[int]):
    """The whole hours of a time since 1970."""

    type = BigInteger()
    inherit_cache = True


@compiles(_Hour, "postgresql")
def _by_epoch(element: _Hour, compiler: SQLCompiler, **more: Any) -> str:
    (time,) = (compiler.process(clause, **more) for clause in element.clauses)
    return f"CAST(floor(extract(epoch FROM {time}) / {HOUR_S}) AS BIGINT)"


@compiles(_Hour)
def _by_julian_day(element: _Hour, compiler: SQLCompiler, **more: Any) -> str:
    (time,) = (compiler.process(clause, **more) for clause in element.clauses)
    return f"CAST(round((julianday({time}) - 2440587.5) * 86400) AS INTEGER) / {HOUR_S}"
