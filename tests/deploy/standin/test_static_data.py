"""CCP's archive of static data, as the stand-in makes it."""

import io
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy.standin.static_data import LATEST, NEWEST
from tests.deploy.standin.conftest import Answer, Client, Start
from tests.deploy.standin.test_universe import table

Files = dict[str, list[dict[str, Any]]]


async def newest(client: Client, **options: Any) -> Answer:
    """Follow the redirect to the newest build."""
    redirect = await client.get(LATEST)
    assert redirect.status == 302
    return await client.get(redirect.headers["Location"], **options)


def unpacked(content: bytes) -> Files:
    with zipfile.ZipFile(io.BytesIO(content)) as zipped:
        return {
            name: [msgspec.json.decode(line) for line in zipped.read(name).splitlines()]
            for name in zipped.namelist()
        }


async def test_who_has_the_archive_is_not_given_it_again(start: Start) -> None:
    client = await start()
    first = await newest(client)
    assert (first.status, first.content_type) == (200, "application/zip")
    known = {"If-None-Match": first.headers["ETag"]}
    assert (await newest(client, headers=known)).status == 304
    await client.switch(sde_build=3_000_001)
    other = await newest(client, headers=known)
    assert other.status == 200
    assert unpacked(other.body)["_sde.jsonl"][0]["buildNumber"] == 3_000_001
    assert (await client.json(NEWEST))["buildNumber"] == 3_000_001
    assert (await client.stats())["requests"]["sde"]["archive"] == {"200": 2, "304": 1}


async def test_it_has_what_is_played_and_the_same_for_a_seed(start: Start) -> None:
    client, again, other = await start(), await start(), await start(seed=2)
    files = unpacked((await newest(client)).body)
    assert (await newest(again)).body == (await newest(client)).body
    assert (
        unpacked((await newest(other)).body)["mapSolarSystems.jsonl"]
        != (files["mapSolarSystems.jsonl"])
    )
    types = {record["_key"]: record for record in files["types.jsonl"]}
    systems = {record["_key"] for record in files["mapSolarSystems.jsonl"]}
    for played in client.standin.dataset.killmails:
        killmail = msgspec.json.decode(played.body)
        victim = killmail["victim"]
        assert killmail["solar_system_id"] in systems
        ids = {victim["ship_type_id"], *(item["item_type_id"] for item in victim["items"])}
        assert ids <= types.keys()
    told = (await client.get("/universe/types/670")).json()
    assert types[670]["name"]["en"] == told["name"]
    assert types[670]["groupID"] == told["group_id"]


async def test_a_played_file_has_its_types_and_systems(start: Start, killmails_file: Path) -> None:
    client = await start(killmails=killmails_file)
    files = unpacked((await newest(client)).body)
    types = {record["_key"] for record in files["types.jsonl"]}
    systems = {record["_key"] for record in files["mapSolarSystems.jsonl"]}
    for played in client.standin.dataset.killmails:
        killmail = msgspec.json.decode(played.body)
        assert killmail["solar_system_id"] in systems
        assert {a["ship_type_id"] for a in killmail["attackers"] if "ship_type_id" in a} <= types


async def test_it_is_that_of_the_universe_folder(start: Start, tmp_path: Path) -> None:
    described = "id name published"
    table(
        tmp_path / "types.json.gz",
        "id name group_id category_id published",
        [670, "Pod", 29, 6, True],
        [9, None, 29, 6, None],
    )
    table(tmp_path / "groups.json.gz", f"{described} category_id", [29, "Pods", True, 6])
    table(tmp_path / "categories.json.gz", described, [6, "Ship", True])
    table(tmp_path / "regions.json.gz", "id name", [10_000_002, "The Forge"])
    table(tmp_path / "constellations.json.gz", "id name region_id", [1, "Kimotoro", 10_000_002])
    table(
        tmp_path / "systems.json.gz",
        "id name constellation_id region_id security_status band",
        [2, "Jita", 1, 10_000_002, 0.9, "high"],
        [3, "Perimeter", 1, 10_000_002, 0.95, "high"],
    )
    table(tmp_path / "stargate_jumps.json.gz", "from_system_id to_system_id", [2, 3])
    table(tmp_path / "factions.json.gz", "id name", [500_001, "Caldari State"])
    table(
        tmp_path / "npc_corporations.json.gz", "id name ticker faction_id", [7, "Doom", "6", None]
    )
    files = unpacked((await newest(await start(universe=tmp_path))).body)
    assert files["types.jsonl"] == [
        {"_key": 670, "name": {"en": "Pod", "de": "Pod"}, "groupID": 29, "published": True},
        {"_key": 9, "groupID": 29, "published": False},
    ]
    assert [gate["destination"]["solarSystemID"] for gate in files["mapStargates.jsonl"]] == [3, 2]
    assert files["npcCorporations.jsonl"][0]["tickerName"] == "6"
    assert set(files["mapSolarSystems.jsonl"][0]["position"]) == {"x", "y", "z"}


@pytest.mark.parametrize("wrong", ["html", "rows", "twice", "file"])
async def test_faults_change_the_archive(start: Start, wrong: str) -> None:
    client = await start()
    whole = (await newest(client)).body
    await client.switch(sde_wrong=[wrong])
    assert (await newest(client)).body != whole
    await client.switch(sde_wrong=[], sde_status=503)
    assert (await client.get(LATEST)).status == 503
