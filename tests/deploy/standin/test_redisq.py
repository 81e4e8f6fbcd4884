import asyncio
from typing import Any

import msgspec
import pytest

from tests.deploy.standin.conftest import NOON, Client, Clock, Start


async def poll(client: Client, queue: str = "q", **query: Any) -> Any:
    """Poll once by both steps; return what the package holds."""
    given = {"queueID": queue, "ttw": "1"} | query
    redirect = await client.get("/listen.php", params=given)
    assert redirect.status == 302, redirect.body
    return (await client.json(redirect.headers["Location"]))["package"]


async def drain(client: Client, queue: str = "q", **query: Any) -> list[int]:
    ids = []
    while package := await poll(client, queue, **query):
        ids.append(package["killID"])
    return ids


async def test_queue_gets_the_whole_dataset_in_order_then_null(start: Start) -> None:
    client = await start()
    assert await drain(client) == await client.json("/standin/killmails")
    assert await drain(client, "another") == await client.json("/standin/killmails")


async def test_new_queue_sees_only_what_comes_after_it_when_told_so(
    start: Start, clock: Clock
) -> None:
    client = await start(rate_per_s=1.0, faults={"redisq_from_start": False})
    clock.now_s += 4
    assert await poll(client) is None
    clock.now_s += 1
    assert (await poll(client))["killID"] == (await client.json("/standin/killmails"))[5]


class CreepingClock(Clock):
    """A clock that moves when it is read, so that time passes only for who looks again."""

    def __call__(self) -> float:
        self.now_s += 0.1
        return self.now_s


async def test_waiting_poll_ends_as_soon_as_something_is_out(start: Start) -> None:
    clock = CreepingClock()
    client = await start(rate_per_s=0.5, clock=clock)
    first = await poll(client, ttw="10")
    second = await poll(client, ttw="10")
    assert clock.now_s - NOON > 2
    assert [first["killID"], second["killID"]] == await client.json("/standin/killmails")


async def test_package_leads_to_the_body_and_embeds_it_when_told_so(start: Start) -> None:
    client = await start()
    package = await poll(client)
    assert set(package) == {"killID", "zkb"}
    body = await client.json(f"/killmails/{package['killID']}/{package['zkb']['hash']}/")
    await client.switch(redisq_embedded=True)
    assert (await poll(client, "q2"))["killmail"] == body


async def test_object_is_the_same_again_and_404_when_unknown_or_gone(
    start: Start, clock: Clock
) -> None:
    client = await start()
    redirect = await client.get("/listen.php", params={"queueID": "q"})
    assert redirect.headers["Access-Control-Allow-Origin"] == "*"
    location = redirect.headers["Location"]
    assert await client.json(location) == await client.json(location)
    assert (await client.get("/object.php?objectID=abc")).status == 404
    assert (await client.get("/object.php")).status == 404
    clock.now_s += 10_800
    assert (await client.get(location)).status == 404


async def test_second_poll_of_a_queue_is_refused_while_one_waits(start: Start) -> None:
    client = await start(synthetic=0)
    waiting = asyncio.create_task(client.get("/listen.php?queueID=q&ttw=2"))
    other = await client.get("/listen.php?queueID=other&ttw=1")
    assert other.status == 302
    assert (await client.get("/listen.php?queueID=q")).status == 429
    assert (await waiting).status == 302


async def test_third_request_of_a_second_is_refused(start: Start, clock: Clock) -> None:
    client = await start(limits=True)
    asked = [(await client.get(f"/listen.php?queueID={n}")).status for n in range(3)]
    assert asked == [302, 302, 429]
    clock.now_s += 1
    assert (await client.get("/listen.php?queueID=a")).status == 302


async def test_missing_queue_and_bad_filter_have_their_own_answers(start: Start) -> None:
    client = await start()
    assert (await client.get("/listen.php")).status == 429
    assert (await client.get("/listen.php?queueID=%20")).status == 429
    assert (await client.get("/listen.php?queueID=q&filter=alliance_id=1,2")).status == 400
    no_agent = await client.get("/listen.php?queueID=q", headers={"User-Agent": ""})
    assert no_agent.status == 403


async def test_filter_passes_what_matches_and_discards_the_rest(start: Start) -> None:
    client = await start(synthetic=200)
    ids = await drain(client, filter="attackerCount>=10")
    expected = []
    for id_ in await client.json("/standin/killmails"):
        played = await client.json(f"/standin/killmails/{id_}")
        if len(played["killmail"]["attackers"]) >= 10:
            expected.append(id_)
    assert ids == expected
    assert expected
    assert await drain(client) == []


async def test_queue_is_forgotten_after_its_ttl(start: Start, clock: Clock) -> None:
    client = await start(faults={"redisq_from_start": True})
    first = await poll(client, ttl="60")
    clock.now_s += 59
    second = await poll(client, ttl="60")
    assert second["killID"] != first["killID"]
    clock.now_s += 60
    assert await poll(client) == first


async def test_sunset_and_outage_answer_as_the_retired_service_did(start: Start) -> None:
    client = await start(faults={"redisq_sunset": True})
    answer = await client.get("/listen.php?queueID=q")
    assert answer.status == 403
    assert answer.json()["access"] == "denied!"
    await client.switch(redisq_sunset=False, redisq_status=503)
    assert (await client.get("/listen.php?queueID=q")).status == 503
    assert (await client.get("/object.php?objectID=null")).status == 503


async def test_holes_and_placeholders_never_reach_a_queue(start: Start) -> None:
    client = await start(faults={"hole_rate": 0.3, "null_rate": 0.3, "shuffle": 5})
    assert await drain(client) == await client.json("/standin/killmails")


@pytest.mark.parametrize(("kind", "status"), [("429", 429), ("503", 503), ("cut", 200)])
async def test_object_fails_so_often_and_then_never_again(
    start: Start, kind: str, status: int
) -> None:
    faults = {"redisq_object_wrong": (kind,), "redisq_object_wrong_first": 2}
    client = await start(faults=faults)
    location = (await client.get("/listen.php?queueID=q")).headers["Location"]
    for _ in range(2):
        answer = await client.get(location)
        assert answer.status == status
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(answer.body)
    assert (await client.json(location))["package"]["killID"]


async def test_object_with_bytes_that_are_no_text(start: Start) -> None:
    client = await start(faults={"redisq_object_wrong": ("utf8",)})
    location = (await client.get("/listen.php?queueID=q")).headers["Location"]
    with pytest.raises(UnicodeDecodeError):
        (await client.get(location)).body.decode()
    assert (await client.json(location))["package"]["killID"]


async def test_some_objects_fail_at_their_rate(start: Start) -> None:
    faults = {"redisq_object_wrong": ("503",), "redisq_object_wrong_rate": 0.5}
    client = await start(faults=faults)
    statuses = []
    for _ in range(20):
        location = (await client.get("/listen.php?queueID=q")).headers["Location"]
        statuses.append((await client.get(location)).status)
    assert 3 < statuses.count(503) < 17
    assert set(statuses) == {200, 503}


async def test_queue_is_served_under_redisq_too(start: Start) -> None:
    client = await start()
    redirect = await client.get("/redisq?queueID=q")
    first = await client.json(redirect.headers["Location"])
    assert first["package"]["killID"] == (await client.json("/standin/killmails"))[0]
    second = await poll(client)
    assert second["killID"] == (await client.json("/standin/killmails"))[1]


async def test_evekill_answers_at_once_with_a_body_of_its_own(start: Start) -> None:
    client = await start(synthetic=1, faults={"redisq_evekill": True})
    package = (await client.json("/redisq?queueID=q&ttw=1"))["package"]
    played = client.standin.dataset.killmails[0]
    right, given = msgspec.json.decode(played.body), package["killmail"]
    assert given["killmail_time"] == right["killmail_time"].replace("Z", ".000Z")
    assert "items" not in given["victim"]
    assert given["victim"]["faction_id"] == right["victim"].get("faction_id", 0)
    assert len(given["attackers"]) == len(right["attackers"])
    for ours, theirs in zip(right["attackers"], given["attackers"], strict=True):
        assert theirs["weapon_type_id"] == ours.get("weapon_type_id", 0)
        assert theirs["character_id"] == ours.get("character_id", 0)
    assert package["zkb"]["hash"] == played.killmail_hash
    assert await client.json("/redisq?queueID=q&ttw=1") == {"package": None}
