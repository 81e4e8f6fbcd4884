"""What the static universe says of the ids in killmails: places and groups of ships."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, select

from actors.shared.finding.windows import Read
from actors.shared.tables import SOLAR_SYSTEMS, UNIVERSE, UNIVERSE_GROUPS, UNIVERSE_TYPES

ROWS: Final = 1_000
"""Rows that are read at once: some 10 ms."""
BANDS: Final = {"high": 1, "low": 2, "null": 3, "wormhole": 4, "abyssal": 5, "pochven": 6}
"""Bands of space by their numbers in terms, which are stored and don't change."""


class Location(NamedTuple):
    """Where a solar system is."""

    constellation_id: int
    region_id: int
    band: int
    """Its number in `BANDS`."""


class Ship(NamedTuple):
    """What a type belongs to."""

    group_id: int
    category_id: int


class Universe(NamedTuple):
    """What is loaded."""

    loaded_at: datetime | None
    places: Mapping[int, Location]
    """By solar system."""
    ships: Mapping[int, Ship]
    """By type."""


NOT_LOADED: Final = Universe(None, {}, {})


async def read_universe(read: Read) -> Universe:
    """Read the universe; all queries should see the same state of the database."""
    (loaded_at,) = [row.loaded_at for row in await read(select(UNIVERSE.c.loaded_at))] or [None]
    if loaded_at is None:
        return NOT_LOADED
    systems = SOLAR_SYSTEMS.c
    columns = (systems.solar_system_id, systems.constellation_id, systems.region_id, systems.band)
    types, groups = UNIVERSE_TYPES.c, UNIVERSE_GROUPS.c
    ships = select(types.type_id, types.group_id, groups.category_id).join(
        UNIVERSE_GROUPS, types.group_id == groups.group_id
    )
    return Universe(
        loaded_at,
        {
            row.solar_system_id: Location(row.constellation_id, row.region_id, BANDS[row.band])
            async for row in rows_of(read, select(*columns), systems.solar_system_id)
        },
        {
            row.type_id: Ship(row.group_id, row.category_id)
            async for row in rows_of(read, ships, types.type_id)
        },
    )


async def rows_of(read: Read, query: Select[Any], key: ColumnElement[Any]) -> AsyncIterator[Any]:
    """Read a large table in the order of a key, in parts between which other tasks have a turn."""
    part: Sequence[Any] = ()
    while True:
        onward = query.where(key > getattr(part[-1], str(key.key))) if part else query
        part = await read(onward.order_by(key).limit(ROWS))
        for row in part:
            yield row
        if len(part) < ROWS:
            return
