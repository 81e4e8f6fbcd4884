"""Killmails as a whole: names, objects, fitting, places; and what an answer reads for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from databases.core import Connection
from sqlalchemy import insert

from actors.shared.settings import Settings
from actors.shared.tables import (
    ALLIANCES,
    CHARACTERS,
    CONSTELLATIONS,
    CORPORATIONS,
    FACTIONS,
    NAMES,
    REGIONS,
    SOLAR_SYSTEMS,
    TYPES,
    UNIVERSE,
    UNIVERSE_CATEGORIES,
    UNIVERSE_GROUPS,
    UNIVERSE_TYPES,
)
from api import name_search
from tests.api.documents import whole
from tests.api.gateway import Writer, a_killmail, connect, query, serve

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
RIFTER, GUN, AMMO, DRONE, CAPSULE = 587, 484, 185, 2488, 670
ANN, BOB, RED, CORPORATION = 90_000_001, 90_000_002, 99_000_001, 98_000_001


def an_item(type_id: int, flag: int, **more: Any) -> dict[str, Any]:
    return {"item_type_id": type_id, "flag": flag, "singleton": 0} | more


ITEMS = [
    an_item(AMMO, 27, quantity_destroyed=30),
    an_item(GUN, 27, quantity_dropped=1),
    an_item(AMMO, 27, quantity_dropped=12),
    an_item(GUN, 29, quantity_destroyed=1),
    an_item(DRONE, 87, quantity_dropped=5),
    an_item(3293, 5, quantity_destroyed=1, items=[an_item(AMMO, 0, quantity_destroyed=7)]),
    an_item(AMMO, 999, quantity_dropped=1),
]
VICTIM = {"damage_taken": 7, "ship_type_id": RIFTER, "character_id": ANN, "items": ITEMS}
VICTIM |= {"corporation_id": CORPORATION, "alliance_id": RED, "faction_id": 500_001}
ATTACKERS = [
    {"damage_done": 1, "final_blow": False, "security_status": 0.0, "ship_type_id": CAPSULE},
    {
        "damage_done": 6,
        "final_blow": True,
        "security_status": -1.5,
        "character_id": BOB,
        "corporation_id": 98_000_002,
        "ship_type_id": RIFTER,
        "weapon_type_id": GUN,
    },
]
FIGHT = {"victim": VICTIM, "attackers": ATTACKERS, "solar_system_id": 30_000_142}


@pytest.fixture
def settings(database_settings: dict[str, Any], tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, **database_settings)


async def load_static_data(writer: Writer) -> None:
    types = [(RIFTER, 25, "Rifter"), (GUN, 55, "125mm Gatling AutoCannon I"), (AMMO, 83, "EMP S")]
    types += [(DRONE, 100, "Warrior II"), (CAPSULE, 29, "Capsule"), (3293, 340, "Container")]
    groups = [(25, 6, "Frigate"), (55, 7, "Projectile Weapon"), (83, 8, "Projectile Ammo")]
    groups += [(100, 18, "Combat Drone"), (29, 6, "Capsule"), (340, 2, "Secure Container")]
    rows: dict[Any, list[dict[str, Any]]] = {
        UNIVERSE: [{"loaded_at": NOW, "next_check_at": NOW}],
        UNIVERSE_CATEGORIES: [{"category_id": 6, "name": "Ship"}],
        UNIVERSE_GROUPS: [
            {"group_id": id_, "category_id": of, "name": name} for id_, of, name in groups
        ],
        UNIVERSE_TYPES: [
            {"type_id": id_, "group_id": of, "name": name, "published": True}
            for id_, of, name in types
        ],
        REGIONS: [{"region_id": 10_000_002, "name": "The Forge"}],
        CONSTELLATIONS: [
            {"constellation_id": 20_000_020, "region_id": 10_000_002, "name": "Kimotoro"}
        ],
        SOLAR_SYSTEMS: [
            {
                "solar_system_id": 30_000_142,
                "constellation_id": 20_000_020,
                "region_id": 10_000_002,
                "name": "Jita",
                "security_status": 0.945913,
                "band": "high",
            }
        ],
        FACTIONS: [{"faction_id": 500_001, "name": "Caldari State"}],
    }
    async with writer.database.begin() as connection:
        for table, values in rows.items():
            await connection.execute(insert(table), values)


async def load_entities(writer: Writer) -> None:
    names = {ANN: ("Ann Alpha", "character"), BOB: ("Bob Beta", "character")}
    names |= {RED: ("Red Alliance", "alliance"), CORPORATION: ("Red Fleet", "corporation")}
    async with writer.database.begin() as connection:
        for id_, (name, category) in names.items():
            row = {"id": id_, "name": name, "category": category, "checked_at": NOW}
            await connection.execute(insert(NAMES), row)
        await connection.execute(insert(ALLIANCES), {"alliance_id": RED, "ticker": "RED"})
        of_red = {"corporation_id": CORPORATION, "alliance_id": RED, "member_count": 7}
        await connection.execute(
            insert(CORPORATIONS), of_red | {"ceo_id": BOB, "name": "Red Fleet"}
        )
        of_ann = {"character_id": ANN, "corporation_id": CORPORATION, "alliance_id": RED}
        await connection.execute(insert(CHARACTERS), of_ann | {"state": "active"})
        await connection.execute(insert(TYPES), {"type_id": RIFTER, "volume": 27_289.0})


@pytest.fixture
async def client(settings: Settings, writer: Writer) -> Any:
    await load_static_data(writer)
    await load_entities(writer)
    async with serve(settings) as address, aiohttp.ClientSession(address) as session:
        yield session


on_sqlite = pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)

PLACE = """
  solarSystemName constellationId constellationName regionId regionName securityStatus spaceBand
  solarSystem { name constellation { name region { regionId name } } region { name } }
  npc solo awox labels totalValue zkillboardUrl esiUrl
  finalBlow { characterId shipGroupName weaponType { name group { name category { name } } } }
"""
PEOPLE = """
  victim {
    characterName character { characterId name portrait(size: 128) zkillboardUrl }
    corporation { name memberCount ceo { name } alliance { ticker } }
    alliance { name logo }
    faction { name logo }
    shipTypeName shipType { name volume published render(size: 512) group { category { name } } }
    shipGroupId shipGroupName shipCategoryId shipCategoryName
  }
"""
SLOT = """
  { number flag module { itemTypeName quantityDropped }
    charge { itemTypeName quantityDestroyed quantityDropped } items { itemTypeId } }
"""
FITTING = f"""
  victim {{
    items {{ itemTypeName location items {{ itemTypeName itemType {{ icon }} }} }}
    fitting {{
      value highSlots {SLOT} midSlots {SLOT} droneBay {{ itemTypeName }} cargo {{ itemTypeName }}
      holds {{ flag name items {{ itemTypeId }} }}
    }}
  }}
"""


async def killmail(client: aiohttp.ClientSession, fields: str) -> Any:
    answer = await query(client, f"{{ killmail(id: 7) {{ {fields} }} }}")
    assert "errors" not in answer, answer
    return answer["data"]["killmail"]


@on_sqlite
async def test_a_killmail_says_where_and_how(client: aiohttp.ClientSession, writer: Writer) -> None:
    await writer.store(a_killmail(7, **FIGHT), zkb={"labels": ["pvp"], "totalValue": 1e6})
    assert await killmail(client, PLACE) == {
        "solarSystemName": "Jita",
        "constellationId": 20_000_020,
        "constellationName": "Kimotoro",
        "regionId": 10_000_002,
        "regionName": "The Forge",
        "securityStatus": 0.945913,
        "spaceBand": "highsec",
        "solarSystem": {
            "name": "Jita",
            "constellation": {
                "name": "Kimotoro",
                "region": {"regionId": 10_000_002, "name": "The Forge"},
            },
            "region": {"name": "The Forge"},
        },
        "npc": False,
        "solo": True,
        "awox": False,
        "labels": ["pvp"],
        "totalValue": 1e6,
        "zkillboardUrl": "https://zkillboard.com/kill/7/",
        "esiUrl": f"https://esi.evetech.net/killmails/7/{'a' * 40}/",
        "finalBlow": {
            "characterId": BOB,
            "shipGroupName": "Frigate",
            "weaponType": {
                "name": "125mm Gatling AutoCannon I",
                "group": {"name": "Projectile Weapon", "category": {"name": None}},
            },
        },
    }


@on_sqlite
async def test_who_was_there_is_named_and_an_object(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    await writer.store(a_killmail(7, **FIGHT))
    images = "https://images.evetech.net"
    assert (await killmail(client, PEOPLE))["victim"] == {
        "characterName": "Ann Alpha",
        "character": {
            "characterId": ANN,
            "name": "Ann Alpha",
            "portrait": f"{images}/characters/{ANN}/portrait?size=128",
            "zkillboardUrl": f"https://zkillboard.com/character/{ANN}/",
        },
        "corporation": {
            "name": "Red Fleet",
            "memberCount": 7,
            "ceo": {"name": "Bob Beta"},
            "alliance": {"ticker": "RED"},
        },
        "alliance": {"name": "Red Alliance", "logo": f"{images}/alliances/{RED}/logo?size=64"},
        "faction": {
            "name": "Caldari State",
            "logo": f"{images}/corporations/500001/logo?size=64",
        },
        "shipTypeName": "Rifter",
        "shipType": {
            "name": "Rifter",
            "volume": 27_289.0,
            "published": True,
            "render": f"{images}/types/{RIFTER}/render?size=512",
            "group": {"category": {"name": "Ship"}},
        },
        "shipGroupId": 25,
        "shipGroupName": "Frigate",
        "shipCategoryId": 6,
        "shipCategoryName": "Ship",
    }


@on_sqlite
async def test_names_of_objects_are_read_where_no_flat_name_is_selected(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    await writer.store(a_killmail(7, **FIGHT))
    named = await killmail(client, "victim { character { name } } finalBlow { character { name } }")
    assert named == {
        "victim": {"character": {"name": "Ann Alpha"}},
        "finalBlow": {"character": {"name": "Bob Beta"}},
    }


@on_sqlite
async def test_modules_are_in_their_slots_with_their_charges(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    await writer.store(a_killmail(7, **FIGHT), zkb={"fittedValue": 5e5})
    victim = (await killmail(client, FITTING))["victim"]
    gun = "125mm Gatling AutoCannon I"
    assert victim["items"][0] == {"itemTypeName": "EMP S", "location": "highSlot", "items": None}
    container = victim["items"][5]
    assert (container["location"], container["items"]) == (
        "Cargo",
        [
            {
                "itemTypeName": "EMP S",
                "itemType": {"icon": "https://images.evetech.net/types/185/icon?size=64"},
            }
        ],
    )
    assert victim["fitting"] == {
        "value": 5e5,
        "highSlots": [
            {
                "number": 1,
                "flag": 27,
                "module": {"itemTypeName": gun, "quantityDropped": 1},
                "charge": {
                    "itemTypeName": "EMP S",
                    "quantityDestroyed": 30,
                    "quantityDropped": 12,
                },
                "items": [{"itemTypeId": id_} for id_ in (AMMO, GUN, AMMO)],
            },
            {
                "number": 3,
                "flag": 29,
                "module": {"itemTypeName": gun, "quantityDropped": None},
                "charge": None,
                "items": [{"itemTypeId": GUN}],
            },
        ],
        "midSlots": [],
        "droneBay": [{"itemTypeName": "Warrior II"}],
        "cargo": [{"itemTypeName": "Container"}],
        "holds": [
            {"flag": 5, "name": "Cargo", "items": [{"itemTypeId": 3293}]},
            {"flag": 87, "name": "Drone bay", "items": [{"itemTypeId": DRONE}]},
            {"flag": 999, "name": None, "items": [{"itemTypeId": AMMO}]},
        ],
    }


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Collect the statements of the gateway meanwhile."""
    said: list[str] = []
    with monkeypatch.context() as patched:
        for name in ("fetch_all", "fetch_one", "fetch_val"):
            ask = getattr(Connection, name)

            async def listen(*given: Any, ask: Any = ask, name: str = name) -> Any:
                said.append(name)
                return await ask(*given)

            patched.setattr(Connection, name, listen)
        yield said


@on_sqlite
async def test_a_page_takes_as_many_statements_as_one_killmail(
    client: aiohttp.ClientSession, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for id_ in range(1, 51):
        victim = VICTIM | {
            "character_id": ANN + id_,
            "corporation_id": CORPORATION + (50 - id_) % 7,
        }
        await writer.store(a_killmail(id_, **FIGHT | {"victim": victim}))
    fields = PLACE + PEOPLE + FITTING
    document = f"query ($n: Int) {{ killmails(first: $n) {{ nodes {{ {fields} }} }} }}"
    counts = {}
    for first in (1, 50):
        with counted(monkeypatch) as said:
            answer = await query(client, document, n=first)
        assert "errors" not in answer
        assert len(answer["data"]["killmails"]["nodes"]) == first
        counts[first] = said
    assert len(counts[50]) == len(counts[1]) <= 8, counts[50]


async def test_entities_are_found_by_their_names(client: aiohttp.ClientSession) -> None:
    document = """
      query ($name: String!, $first: Int) {
        characters(name: $name, first: $first) { characterId name corporation { name } state }
        corporations(name: $name) { name ticker memberCount }
        alliances(name: $name) { name ticker state }
        types(name: $name) { typeId name groupId }
        solarSystems(name: $name) { name spaceBand }
        regions(name: $name) { name }
        constellations(name: $name) { name }
        groups(name: $name) { name }
        factions(name: $name) { name }
      }
    """

    async def found(name: str, **given: Any) -> dict[str, Any]:
        answer = await query(client, document, name=name, **given)
        return {kind: some for kind, some in answer["data"].items() if some}

    assert await found("ANN A") == {
        "characters": [
            {
                "characterId": ANN,
                "name": "Ann Alpha",
                "corporation": {"name": "Red Fleet"},
                "state": "active",
            }
        ]
    }
    assert [one["name"] for one in (await found("ann"))["characters"]] == ["Ann Alpha"]
    assert await found("red") == {
        "corporations": [{"name": "Red Fleet", "ticker": None, "memberCount": 7}],
        "alliances": [{"name": "Red Alliance", "ticker": "RED", "state": "unknown"}],
    }
    assert [one["name"] for one in (await found("lph"))["characters"]] == ["Ann Alpha"]
    assert (await found("jit")) == {"solarSystems": [{"name": "Jita", "spaceBand": "highsec"}]}
    assert [one["name"] for one in (await found("capsule"))["types"]] == ["Capsule"]
    assert (await found("forge"))["regions"] == [{"name": "The Forge"}]
    assert await found("%") == await found("a_") == {}
    for wrong, says in (({"name": " "}, "1 to 100"), ({"name": "a", "first": 101}, "1 to 100")):
        (error, *_) = (await query(client, document, **wrong))["errors"]
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
        assert says in error["message"]


async def test_names_are_found_by_an_index(writer: Writer) -> None:
    dialect = writer.database.dialect
    begins = name_search.beginning_with("character", "ann")
    statement = begins.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    on_postgresql = dialect.name == "postgresql"
    async with writer.database.begin() as connection:
        if on_postgresql:
            await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")  # few rows
        explain = "EXPLAIN" if on_postgresql else "EXPLAIN QUERY PLAN"
        plan = (await connection.exec_driver_sql(f"{explain} {statement}")).all()
    assert "names_search" in str(plan)
    assert ("name>?" if not on_postgresql else "~>=~ 'ann'") in str(plan)


@on_sqlite
async def test_objects_are_nodes(client: aiohttp.ClientSession) -> None:
    ids = {"character": ANN, "corporation": CORPORATION, "alliance": RED, "type": RIFTER}
    ids |= {"group": 25, "solarSystem": 30_000_142, "constellation": 20_000_020}
    ids |= {"region": 10_000_002, "faction": 500_001}
    fields = (f"{field}(id: {id_}) {{ id }}" for field, id_ in ids.items())
    data = (await query(client, f"{{ {' '.join(fields)} }}"))["data"]
    names = set()
    for one in data.values():
        again = await query(client, f'{{ node(id: "{one["id"]}") {{ id __typename }} }}')
        assert again["data"]["node"]["id"] == one["id"]
        names.add(again["data"]["node"]["__typename"])
    assert len(names) == len(data) == 9
    unknown = (await query(client, "{ type(id: 1) { id } character(id: 1) { name } }"))["data"]
    assert unknown == {"type": None, "character": {"name": "Ann"}}


@on_sqlite
async def test_everything_of_a_killmail_is_sent_live(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    document = whole("killmailAdded", of="Subscription")
    async with connect(client) as connection:
        await connection.subscribe(document)
        await writer.publish(*await writer.store(a_killmail(7, **FIGHT)))
        sent = (await connection.next())["killmailAdded"]
    assert sent["regionName"] == "The Forge"
    assert sent["victim"]["items"][1]["itemTypeName"] == "125mm Gatling AutoCannon I"
