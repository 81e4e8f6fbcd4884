import asyncio
import inspect
from typing import Any

import pytest

from deploy.standin.command import standin
from deploy.standin.faults import Faults
from deploy.standin.playback import Window
from tests.deploy.standin.conftest import NOON, Clock, Start
from tests.deploy.standin.sso.client import log_in, refresh

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
        ({"absent": [{"first": 1, "count": 0}]}, "absent"),
        ({"esi_killmail_status": {"1": 200}}, "esi_killmail_status"),
        ({"esi_wrong": ["strange"]}, "esi_wrong"),
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
    assert set(inspect.signature(standin).parameters) >= set(Faults.__struct_fields__)


async def test_switches_set_for_a_while_stand_as_before_afterwards(
    start: Start, clock: Clock
) -> None:
    client = await start(faults={"esi_latency_ms": 5})
    changes = {"r2z2_status": 503, "esi_latency_ms": 9}
    answer = await client.ask("PUT", "/standin/faults?from_s=10&for_s=20", json=changes)
    assert answer.status == 200
    seen = []
    for moved_s in (0, 9, 10, 29, 30):
        clock.now_s = NOON + moved_s
        faults = await client.json("/standin/faults")
        seen.append((faults["r2z2_status"], faults["esi_latency_ms"]))
    assert seen == [(None, 5), (None, 5), (503, 9), (503, 9), (None, 5)]


async def test_reset_closes_windows(start: Start) -> None:
    client = await start(windows=(Window({"r2z2_status": 503}, for_s=20),))
    assert (await client.json("/standin/faults"))["r2z2_status"] == 503
    await client.ask("DELETE", "/standin/faults")
    assert (await client.json("/standin/faults"))["r2z2_status"] is None


@pytest.mark.parametrize(
    ("query", "changes", "said"),
    [
        ("for_s=x", {}, "for_s"),
        ("for_s=1&until_s=3", {}, "until_s"),
        ("for_s=1", {"hole_rate": 0.1}, "hole_rate"),
        ("for_s=1", {"esi_fail_next": 1}, "esi_fail_next"),
        ("for_s=1", {"esi_wrong": ["strange"]}, "esi_wrong"),
    ],
)
async def test_wrong_window_is_refused(
    start: Start, query: str, changes: dict[str, Any], said: str
) -> None:
    client = await start()
    answer = await client.ask("PUT", f"/standin/faults?{query}", json=changes)
    assert answer.status == 400
    assert said in answer.json()["error"]


async def test_tables_and_lists_stay_when_another_switch_is_set(start: Start) -> None:
    client = await start()
    await client.switch(esi_killmail_status={"5": 403}, absent=[{"first": 3, "count": 2}])
    await client.switch(esi_latency_ms=1)
    faults = await client.json("/standin/faults")
    assert faults["esi_killmail_status"] == {"5": 403}
    assert faults["absent"] == [{"first": 3, "count": 2, "late_s": None}]


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


async def test_fault_for_a_while_passes(start: Start, clock: Clock) -> None:
    client = await start()
    given = (await log_in(client))["refresh_token"]
    path = "/standin/faults?for_s=30"
    assert (await client.ask("PUT", path, json={"sso_status": 503})).status == 200
    assert (await refresh(client, given)).status == 503
    clock.now_s += 30
    assert (await refresh(client, given)).status == 200


async def test_requests_are_counted_by_endpoint(start: Start) -> None:
    client = await start()
    given = await log_in(client)
    await refresh(client, "bogus")
    await client.ask("POST", "/v2/oauth/revoke", data={"token": given["refresh_token"]})
    requests = (await client.stats())["requests"]["sso"]
    assert requests == {
        "authorize": {"302": 1},
        "token": {"200": 1, "400": 1},
        "revoke": {"200": 1},
    }
