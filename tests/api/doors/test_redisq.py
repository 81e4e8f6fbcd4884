"""RedisQ's protocol."""

import asyncio
from datetime import date
from typing import Any

import aiohttp
import msgspec
import pytest
from yarl import URL

from actors.shared.settings import Settings
from api.doors import queues, redisq
from api.doors.metrics import CONNECTIONS
from tests.api.gateway import Writer, a_killmail, serve

ZKB = {"hash": "a" * 40, "totalValue": 5e6, "href": "https://esi.evetech.net/x/"}


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redisq, "MIN_TTW_S", 0.05)


async def poll(client: aiohttp.ClientSession, queue_id: str = "q", **more: str) -> Any:
    """Poll once, as a client that follows redirects; return the package."""
    params = {"queueID": queue_id, "ttw": "0"} | more
    async with client.get("/listen.php", params=params) as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert [past.status for past in answer.history] == [302]
        return (await answer.json())["package"]


async def test_a_queue_has_each_killmail_once_from_the_first_poll_on(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    await writer.add(1)
    assert await poll(client) is None
    bodies = {id_: a_killmail(id_) for id_ in (7, 8, 9)}
    await writer.publish(*await writer.store(*bodies.values(), zkb=ZKB))
    await writer.add_day(date(2015, 3, 1))
    await writer.publish(*await writer.store(bodies[7], kind="updated", zkb=ZKB))
    await writer.add(10, origin="import")  # months before it was stored
    for killmail_id, body in bodies.items():
        assert await poll(client) == {
            "killID": killmail_id,
            "killmail": msgspec.json.decode(body),
            "zkb": ZKB,
        }
    assert await poll(client, "another") is None
    waiting = asyncio.create_task(poll(client, ttw="10"))
    await _polls_are(1)
    async with client.get("/listen.php?queueID=q") as answer:
        assert (answer.status, await answer.text()) == (429, "one request at a time per queueID")
    await writer.add(11)
    package = await waiting
    assert package["killID"] == 11
    assert package["zkb"] == {
        "hash": "a" * 40,
        "href": f"https://esi.evetech.net/killmails/11/{'a' * 40}/",
    }


async def _polls_are(count: int) -> None:
    """Wait until so many polls are open."""
    async with asyncio.timeout(5):
        while CONNECTIONS.labels("redisq")._value.get() != count:
            await asyncio.sleep(0.01)


async def test_packages_come_without_the_killmail_if_wanted(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    assert await poll(client) is None
    await writer.publish(*await writer.store(a_killmail(7), zkb=ZKB | {"hash": "b" * 40}))
    href = f"https://esi.evetech.net/killmails/7/{'a' * 40}/"  # with the hash that is right
    assert await poll(client, killmail="0") == {"killID": 7, "zkb": ZKB | {"href": href}}


async def test_what_comes_after_a_client_left_stays_in_its_queue(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    assert await poll(client) is None
    waiting = asyncio.create_task(client.get("/listen.php?queueID=q"))
    await _polls_are(1)
    waiting.cancel()
    await _polls_are(0)
    await writer.add(7)
    assert (await poll(client))["killID"] == 7


async def test_odd_requests_are_refused(client: aiohttp.ClientSession, writer: Writer) -> None:
    for given in ("", "queueID=", "queueID=%20"):
        async with client.get(URL(f"/listen.php?{given}", encoded=True)) as answer:
            assert answer.status == 429
    for given in ("queueID=a&queueID=b", f"queueID={'x' * 201}", "queueID=a&killmail=x"):
        async with client.get(URL(f"/listen.php?{given}", encoded=True)) as answer:
            assert answer.status == 400
            assert (await answer.json())["code"] == "BAD_USER_INPUT"
    for ttw in ("-5", "0", "NaN", "1e9", "9" * 5000, ""):
        async with client.head(f"/listen.php?queueID=a&ttw={ttw}&ttl={ttw}") as answer:
            assert (answer.status, await answer.read()) == (200, b"")
    await writer.add(7)
    for object_id in ("", "5eed", "5eed-0", "5eed-2", f"5eed-{'9' * 19}", "5eed-1x", "other-1"):
        async with client.get("/object.php", params={"objectID": object_id}) as answer:
            assert answer.status == 404, object_id
    async with client.get("/object.php?objectID=null") as answer:
        assert await answer.json() == {"package": None}
    async with client.get("/object.php?objectID=5eed-1") as answer:
        assert answer.headers["Cache-Control"] == "public, max-age=10800"
        assert (await answer.json())["package"]["killID"] == 7


async def test_polls_and_queues_are_bounded(
    settings: Settings, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "QUEUES_PER_CLIENT", 1)
    async with aiohttp.ClientSession() as client:
        few = settings.model_copy(update={"api_polls_per_s": 3})
        async with serve(few) as address:
            listen = f"{address}/listen.php?ttl=1&queueID="
            long_poll = asyncio.create_task(client.get(f"{listen}a", allow_redirects=False))
            await _polls_are(1)
            answers = [await client.get(f"{listen}{name}") for name in "bcd"]
            assert [answer.status for answer in answers] == [429] * 3
            assert "which is the limit" in await answers[0].text()
            assert "per second" in await answers[2].text()
        answer = await long_poll  # the gateway shuts down
        assert (answer.status, answer.headers["Location"]) == (302, "/object.php?objectID=null")
