from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from deploy.standin.participants import Entry, Participants
from deploy.standin.zkillboard import MAX_ERRORS
from tests.deploy.standin.conftest import NOON, Client, Clock, Start

IDS: Mapping[str, str] = {
    "characterID": "character_id",
    "corporationID": "corporation_id",
    "allianceID": "alliance_id",
}


def bodies(client: Client) -> list[Any]:
    """Decode the whole dataset, newest first."""
    played = [msgspec.json.decode(one.body) for one in client.standin.dataset.killmails]
    return sorted(played, key=lambda one: (one["killmail_time"], one["killmail_id"]), reverse=True)


def expected(client: Client, key: str, entity_id: int, *sides: str) -> list[int]:
    """List the ids that a plain search through the dataset finds."""
    found = []
    for body in bodies(client):
        killers = {attacker.get(key) for attacker in body["attackers"]}
        lost, killed = body["victim"].get(key) == entity_id, entity_id in killers
        if ("losses" in sides and lost) or ("kills" in sides and killed):
            found.append(body["killmail_id"])
    return found


def busiest(client: Client, key: str) -> int:
    counts: dict[int, int] = {}
    for body in bodies(client):
        for entity_id in {who.get(key) for who in [body["victim"], *body["attackers"]]} - {None}:
            counts[entity_id] = counts.get(entity_id, 0) + 1
    return max(counts, key=lambda entity_id: (counts[entity_id], entity_id))


async def ids(client: Client, path: str) -> list[int]:
    return [one["killmail_id"] for one in await client.json(path)]


@pytest.mark.parametrize("entity", IDS)
async def test_lists_are_what_a_plain_search_finds_newest_first(start: Start, entity: str) -> None:
    client = await start(synthetic=400)
    key = IDS[entity]
    entity_id = busiest(client, key)
    path = f"/api/{entity}/{entity_id}/"
    both = await ids(client, path)
    assert len(both) > 1
    assert both == expected(client, key, entity_id, "kills", "losses")
    for side in ("kills", "losses"):
        wanted = expected(client, key, entity_id, side)
        assert await ids(client, f"/api/{side}/{entity}/{entity_id}/") == wanted
        assert await ids(client, f"{path}{side}/") == wanted


async def test_pages_hold_each_killmail_once_and_end_empty(start: Start) -> None:
    client = await start(synthetic=200, zkillboard_page_size=3)
    corporation_id = busiest(client, "corporation_id")
    wanted = expected(client, "corporation_id", corporation_id, "kills", "losses")
    pages: list[list[int]] = []
    while not pages or pages[-1]:
        path = f"/api/corporationID/{corporation_id}/page/{len(pages) + 1}/"
        pages.append(await ids(client, path))
    assert {len(page) for page in pages[:-2]} == {3}
    assert [id_ for page in pages for id_ in page] == wanted


async def test_esis_text_stands_byte_for_byte_before_the_zkb_key(
    start: Start, killmails_file: Any, lines: list[bytes]
) -> None:
    client = await start(killmails=killmails_file)
    for line, played in zip(lines, client.standin.dataset.killmails, strict=True):
        corporation_id = msgspec.json.decode(line)["victim"]["corporation_id"]
        answer = await client.get(f"/api/losses/corporationID/{corporation_id}/")
        assert line[:-1] + b',"zkb":' + played.zkb + b"}" in answer.body
        decoded = next(one for one in answer.json() if one["killmail_id"] == played.killmail_id)
        assert decoded.pop("zkb") == msgspec.json.decode(played.zkb)
        assert decoded == msgspec.json.decode(line)


async def test_answers_may_be_cached_for_an_hour_and_repeats_are_counted(
    start: Start, clock: Clock
) -> None:
    client = await start()
    answer = await client.get("/api/characterID/1/")
    assert (answer.status, answer.body) == (200, b"[]")
    assert answer.headers["Cache-Control"] == "public, max-age=3600"
    clock.now_s += 3_599
    await client.get("/api/characterID/1/")
    assert (await client.stats())["zkillboard"]["repeated"] == 1
    clock.now_s += 3_600
    await client.get("/api/characterID/1/")
    assert (await client.stats())["zkillboard"]["repeated"] == 1


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("characterID/1/page/101/", "page value > 100 not allowed"),
        ("characterID/1", "slash"),
        ("characterID/x/", "x is not an integer"),
        ("characterID/0/", "Do not prefix values with 0"),
        ("characterID/1,2/", "1,2 is not an integer"),
        ("characterID/", "not an integer"),
        ("kills/", "Please provide an entity filter first."),
        ("page/2/characterID/1/", "Please provide an entity filter first."),
        ("characterID/1//", "double slash"),
        ("characterID/1/zkbOnly/", "zkbOnly is an invalid parameter"),
    ],
)
async def test_errors_are_answered_with_200(start: Start, path: str, said: str) -> None:
    client = await start()
    answer = await client.get(f"/api/{path}")
    assert answer.status == 200
    assert answer.json().keys() == {"error"}
    assert said in answer.json()["error"]
    assert (await client.stats())["zkillboard"]["errors"] == 1


async def test_page_100_is_no_error(start: Start) -> None:
    client = await start()
    assert await client.json("/api/characterID/1/page/100/") == []


async def test_a_query_string_is_forbidden(start: Start) -> None:
    client = await start()
    answer = await client.get("/api/characterID/1/?page=2")
    assert answer.status == 403
    assert b"query string" in answer.body


async def test_more_than_40_errors_in_five_minutes_block_for_a_while(
    start: Start, clock: Clock
) -> None:
    client = await start()
    for _ in range(MAX_ERRORS + 1):
        assert (await client.get("/api/kills/")).status == 200
    blocked = await client.get("/api/characterID/1/")
    assert (blocked.status, blocked.headers["Location"]) == (302, "/api/blocked.json")
    assert "error" in await client.json("/api/blocked.json")
    clock.now_s += 300
    assert (await client.get("/api/characterID/1/")).status == 200


async def test_reinforced_mode_is_503(start: Start) -> None:
    client = await start(faults={"zkillboard_status": 503})
    answer = await client.get("/api/characterID/1/")
    assert answer.status == 503
    assert b"Reinforced mode" in answer.body
    await client.switch(zkillboard_status=None)
    assert (await client.get("/api/characterID/1/")).status == 200


async def test_requests_above_one_a_second_are_counted_and_refused_when_switched_on(
    start: Start, clock: Clock
) -> None:
    client = await start()
    for number in range(3):
        assert (await client.get(f"/api/characterID/{number + 1}/")).status == 200
    assert (await client.stats())["refused"] == {"zkillboard": 2}
    await client.switch(zkillboard_pace=True)
    assert (await client.get("/api/characterID/9/")).status == 429
    clock.now_s += 1
    assert (await client.get("/api/characterID/9/")).status == 200
    counted = (await client.stats())["zkillboard"]
    assert (counted["highest_per_s"], counted["refused"]) == (4, 3)


async def test_killmails_younger_than_five_minutes_are_withheld(
    start: Start, clock: Clock, killmails_file: Any
) -> None:
    client = await start(killmails=killmails_file)
    played = client.standin.dataset.killmails[0]
    corporation_id = msgspec.json.decode(played.body)["victim"]["corporation_id"]
    path = f"/api/losses/corporationID/{corporation_id}/"
    clock.now_s = played.killed_at_s + 299
    assert played.killmail_id not in await ids(client, path)
    clock.now_s += 1
    assert played.killmail_id in await ids(client, path)


async def test_only_what_is_out_is_listed(start: Start, clock: Clock) -> None:
    client = await start(synthetic=50, rate_per_s=1)
    last = msgspec.json.decode(client.standin.dataset.killmails[49].body)
    path = f"/api/losses/corporationID/{last['victim']['corporation_id']}/"
    assert last["killmail_id"] not in await ids(client, path)
    clock.now_s = NOON + 49
    assert last["killmail_id"] in await ids(client, path)


async def test_each_killmail_is_read_once_however_often_it_comes_and_is_asked_for(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    add_side = Participants._list

    def counted(self: Participants, entry: Entry, *rest: Any) -> None:
        read.append(entry.killmail_id)
        add_side(self, entry, *rest)

    monkeypatch.setattr(Participants, "_list", counted)
    client = await start(synthetic=300, faults={"duplicate_rate": 0.3})
    corporation_id = busiest(client, "corporation_id")
    path = f"/api/corporationID/{corporation_id}/"
    first = await ids(client, path)
    await client.switch(hole_rate=0.3, shuffle=20)
    assert await ids(client, path) == first
    played = [one.killmail_id for one in client.standin.dataset.killmails]
    assert sorted(read) == sorted(played * 2)


async def test_of_two_entities_both_must_take_part(start: Start) -> None:
    client = await start(synthetic=400)
    alliance_id = busiest(client, "alliance_id")
    corporation_id = busiest(client, "corporation_id")
    allied = expected(client, "alliance_id", alliance_id, "kills", "losses")
    wanted = expected(client, "corporation_id", corporation_id, "kills", "losses")
    both = await ids(client, f"/api/allianceID/{alliance_id}/corporationID/{corporation_id}/")
    assert both == [id_ for id_ in wanted if id_ in allied]
    assert both not in (allied, wanted)


async def test_history_has_moved_under_its_old_name(start: Start) -> None:
    client = await start()
    moved = await client.get("/api/history/20260101/")
    assert (moved.status, moved.headers["Location"]) == (302, "/api/history/20260101.json")
    hashes = await client.json("/api/history/20260101.json")
    assert hashes == await client.json("/history/20260101.json")
    assert len(hashes) == 20
    assert (await client.get("/api/history/20260102.json")).status == 404
