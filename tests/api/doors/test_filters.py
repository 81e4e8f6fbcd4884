"""Filters at the doors."""

from contextlib import AsyncExitStack
from datetime import date
from typing import Any

import aiohttp
import msgspec
import pytest

from actors.killmails.persist import read, store
from actors.shared.reference import encode_reference
from api.doors import redisq
from tests.api.doors.reading import events_of, lines_of
from tests.api.gateway import Writer, a_killmail
from tests.support.made import a_body, a_reference, an_attacker

VICTIM = {"character_id": 1, "ship_type_id": 587, "damage_taken": 7}
ZKB = {"totalValue": 5e9, "hash": "a" * 40, "labels": ["pvp"]}


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redisq, "MIN_TTW_S", 0.1)


async def _store(writer: Writer) -> None:
    """Three killmails; a day; a correction."""
    await writer.publish(*await writer.store(a_killmail(7, victim=VICTIM), zkb=ZKB))
    await writer.publish(*await writer.store(a_killmail(8), zkb=ZKB | {"totalValue": 1.0}))
    await writer.publish(*await writer.store(a_killmail(9, victim=VICTIM)))
    await writer.add_day(date(2015, 3, 1))
    await writer.publish(*await writer.store(a_killmail(7, victim=VICTIM), kind="updated", zkb=ZKB))


FILTERS = {
    "victim.shipTypeId=587": [1, 3, 4, 5],
    "victim.shipTypeId=587&minTotalValue=1e9": [1, 4, 5],
    "maxTotalValue=1e9": [2, 4],  # an unknown value meets nothing
    'filter={"not":{"victim":{"shipTypeId":587}}}': [2, 4],
    "itemTypeId=9": [2, 4],
}


async def test_streams_have_what_meets_the_filter(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    await _store(writer)
    for filter_, sequences in FILTERS.items():
        async with events_of(client, f"/feed.sse?after=0&{filter_}") as events:
            assert [(await events.data())["sequence"] for _ in sequences] == sequences
    async with AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(lines_of(client, f"/feed.ndjson?{filter_}"))
            for filter_ in FILTERS
        ]
        await _store_again(writer)
        for lines, sequences in zip(streams, FILTERS.values(), strict=True):
            live = [(await anext(lines))["sequence"] for _ in sequences]
            assert live == [sequence + 5 for sequence in sequences]


async def _store_again(writer: Writer) -> None:
    """The same, live."""
    for killmail_id, victim, value in ((17, VICTIM, 5e9), (18, {}, 1.0), (19, VICTIM, None)):
        changes = {"victim": victim} if victim else {}
        zkb = ZKB | {"totalValue": value} if value else None
        await writer.publish(*await writer.store(a_killmail(killmail_id, **changes), zkb=zkb))
    await writer.add_day(date(2015, 3, 2))
    await writer.publish(
        *await writer.store(a_killmail(17, victim=VICTIM), kind="updated", zkb=ZKB)
    )


async def test_a_queue_has_what_meets_the_filter(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    polled = {"queueID": "q", "ttw": "0", "filter": "ship_type_id=587;totalValue>=1e9"}

    async def poll() -> Any:
        async with client.get("/listen.php", params=polled) as answer:
            package = (await answer.json())["package"]
            return package and package["killID"]

    assert await poll() is None
    await _store(writer)
    assert [await poll(), await poll()] == [7, None]


async def test_exports_have_what_meets_the_filter(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    bodies = [a_body(id_, attackers=[an_attacker(alliance_id=id_ % 2)]) for id_ in range(1, 8)]
    references = [encode_reference(a_reference(body)) for body in bodies]
    await store(writer.database, read(references)[0])
    for given, expected in (("", [7, 6, 5, 4, 3, 2, 1]), ("attacker.allianceId=1", [7, 5, 3, 1])):
        async with client.get(f"/export.ndjson?{given}") as answer:
            lines = [msgspec.json.decode(line) async for line in answer.content]
            assert answer.headers["Killstream-Complete"] == "true"
        assert [line["killmail_id"] for line in lines] == expected


WRONG = (
    ("/feed.sse?shipTypId=587", 400, "shipTypId: isn't a parameter"),
    ("/feed.ndjson?victim.shipTypeId=x", 400, "victim.shipTypeId"),
    ("/feed.sse?minTotalValue=NaN", 400, "minTotalValue"),
    ("/export.csv?filter={", 400, "filter"),
    ('/export.csv?filter={"and":[{"victim":{"shipTypeId":-1}}]}', 400, "and[0].victim"),
    ("/feed.sse?regionId=10000002", 503, "aren't known yet"),
    ("/listen.php?queueID=q&filter=shipTypeID=587", 400, "shipTypeID"),
    ("/listen.php?queueID=q&filter=a=1;b=2,c=3", 400, "can't be in one filter"),
    ("/listen.php?queueID=q&filter=x", 400, "isn't a key"),
)


async def test_filters_that_are_wrong_are_refused(client: aiohttp.ClientSession) -> None:
    for address, status, says in WRONG:
        async with client.get(address) as answer:
            assert answer.status == status, address
            assert says in (await answer.json())["error"]
