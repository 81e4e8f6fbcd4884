import asyncio
import inspect
from typing import Any

import pytest

from deploy.standin.command import standin
from deploy.standin.faults import Faults
from tests.deploy.standin.conftest import Start

FIRST = 96_000_000


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hole_rat": 0.1}, "hole_rat"),
        ({"hole_rate": "much"}, "hole_rate"),
        ({"hole_rate": 1.5}, "hole_rate"),
        ({"hole_rate": 0.5, "null_rate": 0.5}, "together"),
        ({"limits": 1}, "limits"),
        ({"r2z2_status": 200}, "r2z2_status"),
        ({"unknown_ids": ["a"]}, "unknown_ids"),
        ([], "object"),
    ],
)
async def test_wrong_switch_is_refused_by_name_and_changes_nothing(
    start: Start, changes: Any, said: str
) -> None:
    client = await start()
    before = await client.json("/standin/faults")
    answer = await client.ask("PUT", "/standin/faults", json=changes)
    assert answer.status == 400
    assert said in answer.json()["error"]
    assert await client.json("/standin/faults") == before


async def test_what_is_not_json_is_refused(start: Start) -> None:
    client = await start()
    for data in (b"{", b"\xff"):
        assert (await client.ask("PUT", "/standin/faults", data=data)).status == 400


async def test_switches_are_set_one_by_one_and_reset_together(start: Start) -> None:
    client = await start(limits=True, faults={"shuffle": 3})
    await client.switch(html_rate=0.5)
    await client.switch(esi_latency_ms=5)
    faults = await client.json("/standin/faults")
    assert set(faults) == set(Faults.__struct_fields__)
    assert (faults["html_rate"], faults["esi_latency_ms"], faults["shuffle"]) == (0.5, 5, 3)
    assert (await client.ask("DELETE", "/standin/faults")).status == 200
    faults = await client.json("/standin/faults")
    assert (faults["html_rate"], faults["esi_latency_ms"], faults["shuffle"]) == (0, 0, 3)


async def test_holes_switched_on_appear_behind_what_was_asked_for(start: Start) -> None:
    client = await start(synthetic=100)
    seen = [(await client.get(f"/ephemeral/{FIRST + n}.json")).status for n in range(30)]
    await client.switch(hole_rate=0.5)
    numbers = (await client.stats())["dataset"]["numbers"]
    statuses = [(await client.get(f"/ephemeral/{FIRST + n}.json")).status for n in range(numbers)]
    assert statuses[:30] == seen == [200] * 30
    assert statuses.count(200) == 100
    assert statuses.count(404) == numbers - 100 > 0


@pytest.mark.parametrize(
    ("switch", "path"),
    [("r2z2_latency_ms", "/ephemeral/sequence.json"), ("esi_latency_ms", "/status")],
)
async def test_latency_holds_back_one_upstream_only(start: Start, switch: str, path: str) -> None:
    client = await start(faults={switch: 600_000})
    waiting = asyncio.create_task(client.get(path))
    other = {"/status": "/ephemeral/sequence.json", "/ephemeral/sequence.json": "/status"}[path]
    for _ in range(20):
        assert (await client.get(other)).status == 200
    assert not waiting.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_command_has_an_option_for_each_switch() -> None:
    options = set(inspect.signature(standin).parameters)
    assert options >= set(Faults.__struct_fields__) - {"unknown_ids"}
    assert "unknown_id" in options


async def test_stats_count_by_upstream_endpoint_and_status(start: Start) -> None:
    client = await start()
    await client.get(f"/ephemeral/{FIRST}.json")
    await client.get(f"/ephemeral/{FIRST + 50}.json")
    await client.get("/ephemeral/sequence.json")
    await client.get("/killmails/1/0")
    await client.get("/listen.php?queueID=q")
    stats = await client.stats()
    assert stats["requests"] == {
        "esi": {"killmail": {"422": 1}},
        "r2z2": {"ephemeral": {"200": 1, "404": 1}, "sequence": {"200": 1}},
        "redisq": {"listen": {"302": 1}},
    }
    assert stats["dataset"] == {
        "total": 20,
        "released": 20,
        "numbers": 20,
        "first_sequence": FIRST,
        "last_sequence": FIRST + 19,
    }


async def test_killmail_of_the_dataset_is_found_by_id(start: Start) -> None:
    client = await start()
    id_, *_ = await client.json("/standin/killmails")
    found = await client.json(f"/standin/killmails/{id_}")
    assert found["killmail"]["killmail_id"] == found["killmail_id"] == id_
    assert found["zkb"]["hash"] == found["hash"]
    for wrong in ("1", "x"):
        assert (await client.get(f"/standin/killmails/{wrong}")).status == 404
