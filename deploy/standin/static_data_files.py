"""The files of CCP's archive of static data: real names from a universe folder, else made up.

Positions, which a universe folder lacks, and the ids of stargates are made up by seed.

Source: CCP's documentation of the static data export (read 2026-11-26).
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, Final

from deploy.standin.names import make_name, read_table

LIGHT_YEAR_M: Final = 9.4607e15
_SECURITY: Final[dict[str | None, tuple[float, float]]] = {
    "high": (0.5, 1.0),
    "low": (0.1, 0.4),
    "null": (-0.9, 0.0),
    "wspace": (-0.99, -0.99),
    "abyssal": (-1.0, -1.0),
    "pochven": (-1.0, -1.0),
}
"""The range of the security status in each band; of an unknown one, all."""
JITA: Final = 30_000_142
PERIMETER: Final = 30_000_144
POCHVEN: Final = 10_000_070
_FIRST_STARGATE: Final = 50_000_001

Record = dict[str, Any]
Files = dict[str, list[Record]]
"""By file of the archive, its records."""


def real_files(folder: Path, seed: int) -> Files:
    """Make the files of what a universe folder has.

    Raises:
        Misconfigured: a table is missing or wrong.
    """

    def table(name: str) -> list[dict[str, Any]]:
        return read_table(folder / f"{name}.json.gz")

    types = [
        _record(row, published=bool(row["published"]), groupID=row["group_id"])
        for row in table("types")
    ]
    groups = [
        _record(row, published=bool(row["published"]), categoryID=row["category_id"])
        for row in table("groups")
    ]
    systems = [
        _system(
            _record(row, constellationID=row["constellation_id"], regionID=row["region_id"]),
            row["security_status"],
            seed,
        )
        for row in table("systems")
    ]
    jumps = [(row["from_system_id"], row["to_system_id"]) for row in table("stargate_jumps")]
    return {
        "categories": [_record(r, published=bool(r["published"])) for r in table("categories")],
        "groups": groups,
        "types": types,
        "mapRegions": [_record(row) for row in table("regions")],
        "mapConstellations": [
            _record(row, regionID=row["region_id"]) for row in table("constellations")
        ],
        "mapSolarSystems": systems,
        "mapStargates": list(_stargates(jumps)),
        "factions": [_record(row) for row in table("factions")],
        "npcCorporations": [
            _record(row, tickerName=row["ticker"], factionID=row["faction_id"])
            for row in table("npc_corporations")
        ],
    }


def _record(row: dict[str, Any], **fields: Any) -> Record:
    """Make a record; what the folder doesn't know is absent."""
    name = {"name": {"en": row["name"], "de": row["name"]}} if row["name"] else {}
    known = {field: value for field, value in fields.items() if value is not None}
    return {"_key": row["id"], **name, **known}


def _system(record: Record, security_status: float, seed: int) -> Record:
    random = Random(f"{seed} {record['_key']}")
    position = {axis: random.uniform(-50, 50) * LIGHT_YEAR_M for axis in "xyz"}
    return record | {"securityStatus": security_status, "position": position}


def _stargates(jumps: Iterable[tuple[int, int]]) -> Iterator[Record]:
    """Make the two stargates of each jump."""
    for number, ends in enumerate(jumps):
        ids = _FIRST_STARGATE + 2 * number, _FIRST_STARGATE + 2 * number + 1
        for here, there in ((0, 1), (1, 0)):
            yield {
                "_key": ids[here],
                "solarSystemID": ends[here],
                "destination": {"stargateID": ids[there], "solarSystemID": ends[there]},
            }


def made_up_files(type_ids: Iterable[int], bands: Mapping[int, str | None], seed: int) -> Files:
    """Make up what the played killmails need: as ESI's routes say it where these do, too."""
    types, systems = sorted({0, *type_ids}), sorted({JITA, PERIMETER, *bands})
    places = {system: _place(system, bands.get(system)) for system in systems}
    constellations = sorted(set(places.values()))
    return {
        "categories": [{"_key": 6, "name": {"en": "Ship"}, "published": True}],
        "groups": [
            {"_key": n, "name": {"en": f"Group {n}"}, "categoryID": 6, "published": True}
            for n in sorted({type_id % 1_000 for type_id in types})
        ],
        "types": [
            _named(type_id, "inventory_type") | {"groupID": type_id % 1_000, "published": True}
            for type_id in types
        ],
        "mapRegions": [_named(id_, "region") for id_ in sorted({r for _, r in constellations})],
        "mapConstellations": [
            _named(id_, "constellation") | {"regionID": region} for id_, region in constellations
        ],
        "mapSolarSystems": [
            _system(
                _named(system, "solar_system")
                | {"constellationID": places[system][0], "regionID": places[system][1]},
                _security(system, bands.get(system), seed),
                seed,
            )
            for system in systems
        ],
        "mapStargates": list(_stargates(pairwise(systems))),
        "factions": [_named(500_000 + n, "faction") for n in range(1, 30)],
        "npcCorporations": [
            _named(1_000_000 + n, "corporation")
            | {"tickerName": f"NPC{n}", "factionID": 500_001 + n % 29}
            for n in range(2, 300)
        ],
    }


def _named(id_: int, category: str) -> Record:
    return {"_key": id_, "name": {"en": make_name(id_, category)}}


def _place(system_id: int, band: str | None) -> tuple[int, int]:
    """Make up constellation and region; the region's range says wormhole and abyss."""
    space = system_id // 1_000_000 - 30
    region = POCHVEN if band == "pochven" else 10_000_001 + space * 1_000_000 + system_id % 60
    return 20_000_001 + space * 1_000_000 + region % 1_000_000 * 20 + system_id % 7, region


def _security(system_id: int, band: str | None, seed: int) -> float:
    low, high = _SECURITY.get(band, (-1.0, 1.0))
    return Random(f"{seed} {system_id}").uniform(low, high)
