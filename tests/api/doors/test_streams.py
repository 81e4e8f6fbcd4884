"""The feed by Server-Sent Events and as NDJSON."""

import asyncio
import socket
import time
from datetime import date
from typing import Any

import aiohttp
import msgspec
import pytest
from yarl import URL

from actors.shared.feed import decode_entry
from actors.shared.metrics import SUBSCRIBERS_CLOSED
from actors.shared.settings import Settings
from api import reads, tail
from api.doors import live
from api.doors.metrics import CONNECTIONS
from tests.api.doors.reading import events_of, lines_of
from tests.api.gateway import NAMES_KNOWN, Writer, a_killmail, serve
from tests.support.feed import decode_killmail

DOORS = ("/feed.sse", "/feed.ndjson")


async def test_events_are_the_entries_of_the_topic(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    async with events_of(client) as events:
        (added,) = await writer.store(a_killmail(7).replace(b",", b",\r\n"), zkb={"points": 1})
        await writer.publish(added)
        event = await events.next()
        assert (event["id"], event["event"]) == ("1", "added")
        entry = decode_killmail(event["data"])
        assert msgspec.json.decode(entry.killmail) == msgspec.json.decode(added.killmail)
        assert entry == msgspec.structs.replace(added, killmail=entry.killmail)
        await writer.publish(*await writer.store(a_killmail(7), kind="updated"))
        assert (await events.next())["event"] == "updated"
        day = await writer.add_day(date(2015, 3, 1))
        event = await events.next()
        assert (event["id"], event["event"]) == ("3", "imported")
        assert decode_entry(event["data"]) == day


async def test_a_client_resumes_where_it_was(client: aiohttp.ClientSession, writer: Writer) -> None:
    await writer.add(7, 8, 9)
    async with events_of(client, "/feed.sse?after=0") as events:
        first = await events.next()
    assert msgspec.json.decode(first["data"])["names"] == {
        str(id_): name for id_, name in NAMES_KNOWN.items()
    }
    # As a browser does: with the same address, and the last id that it got.
    async with events_of(client, "/feed.sse?after=0", **{"Last-Event-ID": first["id"]}) as events:
        assert [(await events.data())["killmail_id"] for _ in "ab"] == [8, 9]
        await writer.add(10)
        assert (await events.data())["sequence"] == 4


async def test_lines_are_the_entries_of_the_topic(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    await writer.add(7)
    await writer.add_day(date(2015, 3, 1))
    async with lines_of(client, "/feed.ndjson?after=0") as lines:
        assert [(await anext(lines))["kind"] for _ in "ab"] == ["added", "imported"]
        await writer.add(8)
        line = await anext(lines)
        assert (line["v"], line["sequence"], line["killmail"]["killmail_id"]) == (1, 3, 8)


async def test_a_silent_feed_has_heartbeats_with_the_position(
    client: aiohttp.ClientSession, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.05)
    await writer.add(7)
    async with events_of(client, "/feed.sse?after=1") as events:
        assert await events.next() == {"comment": "heartbeat", "id": "1"}
    async with lines_of(client, "/feed.ndjson?after=1") as lines:
        assert [await anext(lines) for _ in "ab"] == [{"kind": "heartbeat", "sequence": 1}] * 2


ODD = (
    "-1",
    "",
    "NaN",
    "1e3",
    "99",
    "0x1",
    "%201",
    "%00",
    "%D9%A1",
    "9" * 5000,
    str(2**63),
    "1&after=2",
)


async def test_odd_positions_are_refused(client: aiohttp.ClientSession) -> None:
    for door in DOORS:
        for given in ODD:
            async with client.get(URL(f"{door}?after={given}", encoded=True)) as answer:
                assert answer.status == 400, given
                assert (await answer.json())["error"].startswith("after: ")


async def test_the_end_of_the_feed_is_named(client: aiohttp.ClientSession, writer: Writer) -> None:
    await writer.add(7)
    async with client.get("/feed.sse", headers={"Last-Event-ID": "2"}) as answer:
        refusal = await answer.json()
    assert (refusal["code"], refusal["lastSequence"]) == ("BEYOND_END", 1)


async def test_only_get_and_head(client: aiohttp.ClientSession) -> None:
    for door in DOORS:
        async with client.head(door) as answer:
            assert (answer.status, await answer.read()) == (200, b"")
        async with client.post(door) as answer:
            assert answer.status == 405


async def test_streams_end_with_a_word_when_the_gateway_does(
    settings: Settings, writer: Writer
) -> None:
    await writer.add(7)
    async with aiohttp.ClientSession() as client:
        async with serve(settings) as address:
            sse = await client.get(f"{address}/feed.sse")
            ndjson = await client.get(f"{address}/feed.ndjson")
            began_s = time.monotonic()
        assert time.monotonic() - began_s < 2
        assert (await sse.text()).endswith(
            'event: end\ndata: {"reason":"restarting","after":1}\n\n'
        )
        assert await ndjson.text() == '{"kind":"end","reason":"restarting","sequence":1}\n'


async def test_a_client_that_reads_nothing_is_closed(
    settings: Settings, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "SEND_S", 0.2)
    monkeypatch.setattr(live, "LAST_WORD_S", 0.1)
    blocked = SUBSCRIBERS_CLOSED.labels(reason="blocked")
    before = blocked._value.get()
    bodies = [a_killmail(id_, padding="x" * 500_000) for id_ in range(1, 31)]
    await writer.publish(*await writer.store(*bodies))
    async with serve(settings) as address:
        with socket.socket() as silent:
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            silent.connect((URL(address).host, URL(address).port))
            silent.send(b"GET /feed.sse?after=0 HTTP/1.1\r\nHost: x\r\n\r\n")
            async with asyncio.timeout(10):
                while blocked._value.get() == before or CONNECTIONS.labels("sse")._value.get():
                    await asyncio.sleep(0.02)


async def test_a_client_that_falls_behind_is_told_where_to_go_on(
    client: aiohttp.ClientSession, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "MAX_BEHIND", 20)
    behind = SUBSCRIBERS_CLOSED.labels(reason="behind")
    before = behind._value.get()
    async with client.get("/feed.ndjson", read_bufsize=1024) as answer:
        for start in range(1, 61, 5):
            bodies = [a_killmail(start + n, padding="x" * 500_000) for n in range(5)]
            await writer.publish(*await writer.store(*bodies))
        lines = [msgspec.json.decode(line) for line in (await answer.text()).splitlines()]
    *given, end = lines
    assert [line["sequence"] for line in given] == list(range(1, len(given) + 1))
    assert end == {"kind": "end", "reason": "lagged", "sequence": len(given)}
    assert behind._value.get() == before + 1
    async with lines_of(client, f"/feed.ndjson?after={len(given)}") as rest:
        assert (await anext(rest))["sequence"] == len(given) + 1


async def test_the_number_of_streams_is_bounded(settings: Settings, writer: Writer) -> None:
    few = settings.model_copy(update={"api_streams_per_client": 1})
    async with serve(few) as address, aiohttp.ClientSession(address) as client:
        async with events_of(client):
            async with client.get("/feed.sse") as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (429, "10")
            async with lines_of(client, "/feed.ndjson"):
                pass
        async with asyncio.timeout(5):
            while CONNECTIONS.labels("sse")._value.get():
                await asyncio.sleep(0.01)
        async with events_of(client):
            pass


async def test_a_half_sent_body_ends_the_stream(settings: Settings, writer: Writer) -> None:
    impatient = settings.model_copy(update={"api_request_s": 0.2})
    async with serve(impatient) as address:
        url = URL(address)
        reader, to_gateway = await asyncio.open_connection(url.host, url.port)
        to_gateway.write(b"GET /feed.ndjson HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
        async with asyncio.timeout(5):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            await reader.readuntil(b"\r\n0\r\n\r\n")
        to_gateway.close()


async def test_many_streams_of_one_client_leave_room_for_others(
    settings: Settings, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "RING_ENTRIES", 1)
    monkeypatch.setattr(tail, "PAGE_ENTRIES", 10)
    monkeypatch.setattr(tail, "CACHED_PAGES", 1)
    pages_read: list[int] = []
    read = reads.feed_page

    async def counted(database: Any, after: int, *rest: Any, **more: Any) -> Any:
        pages_read.append(after)
        return await read(database, after, *rest, **more)

    await writer.publish(*await writer.store(*map(a_killmail, range(1, 401))))
    monkeypatch.setattr(reads, "feed_page", counted)
    async with serve(settings) as address, aiohttp.ClientSession(address) as many:
        hungry = [await many.get(f"/feed.ndjson?after={n * 20}") for n in range(20)]
        reading = [asyncio.create_task(answer.content.readline()) for answer in hungry]
        await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
        other = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
        async with (
            aiohttp.ClientSession(address, connector=other) as honest,
            lines_of(honest, "/feed.ndjson?after=300") as lines,
        ):
            begun = len(pages_read)
            for _ in range(100):
                await anext(lines)
        assert len(pages_read) - begun < 40  # 10 of its own, and about as many of the others
