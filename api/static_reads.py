"""Read CCP's static data, and again when other data was loaded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, NoReturn

import structlog
from sqlalchemy import Select, select

from actors.shared.background import in_background
from actors.shared.tables import (
    CONSTELLATIONS,
    FACTIONS,
    REGIONS,
    SOLAR_SYSTEMS,
    UNIVERSE,
    UNIVERSE_CATEGORIES,
    UNIVERSE_GROUPS,
    UNIVERSE_TYPES,
)
from api.database import DatabaseUnavailable, FetchAll, ReadDatabase
from api.static_data import Constellation, Group, StaticData, System, Type

POLL_S: Final = 30.0
"""Interval at which it is seen whether other static data was loaded."""

_log: Final = structlog.get_logger()


@asynccontextmanager
async def open_static_data(database: ReadDatabase) -> AsyncIterator[None]:
    """Keep `database.static` what is loaded, until the block ends; waits for the first look."""
    await _try_to_refresh(database)
    async with in_background(_follow(database), "static data"):
        yield


async def _follow(database: ReadDatabase) -> NoReturn:
    while True:
        await asyncio.sleep(POLL_S)
        await _try_to_refresh(database)


async def _try_to_refresh(database: ReadDatabase) -> None:
    try:
        await refresh(database)
    except DatabaseUnavailable:
        pass  # health and tail say so
    except Exception:  # unexpected; names stay what was read before
        _log.exception("static_data.unreadable", retry_in_s=POLL_S)


async def refresh(database: ReadDatabase) -> None:
    """Read the static data if other than the known one is loaded."""
    loaded_at = await database.fetch_val(select(UNIVERSE.c.loaded_at))
    if loaded_at != database.static.loaded_at:
        database.static = await database.in_snapshot(_read)


async def _read(read: FetchAll) -> StaticData:
    async def rows(query: Select[Any]) -> list[tuple[Any, ...]]:
        return [tuple(row._mapping.values()) for row in await read(query)]

    ((loaded_at,),) = await rows(select(UNIVERSE.c.loaded_at)) or [(None,)]
    types, groups, systems = UNIVERSE_TYPES.c, UNIVERSE_GROUPS.c, SOLAR_SYSTEMS.c
    of_systems = (systems.name, systems.constellation_id, systems.region_id)
    areas = CONSTELLATIONS.c
    return StaticData(
        loaded_at,
        {
            id_: Type(*of)
            for id_, *of in await rows(
                select(types.type_id, types.name, types.group_id, types.published)
            )
        },
        {
            id_: Group(*of)
            for id_, *of in await rows(select(groups.group_id, groups.name, groups.category_id))
        },
        dict(await rows(_names(UNIVERSE_CATEGORIES, "category_id"))),
        {
            id_: System(*of)
            for id_, *of in await rows(
                select(systems.solar_system_id, *of_systems, systems.security_status, systems.band)
            )
        },
        {
            id_: Constellation(*of)
            for id_, *of in await rows(select(areas.constellation_id, areas.name, areas.region_id))
        },
        dict(await rows(_names(REGIONS, "region_id"))),
        dict(await rows(_names(FACTIONS, "faction_id"))),
    )


def _names(table: Any, key: str) -> Select[Any]:
    return select(table.c[key], table.c.name)
