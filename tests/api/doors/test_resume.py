"""Streams that break are resumed without loss or duplicate, also by a real browser."""

import asyncio
import random
from typing import Any

import aiohttp
import pytest

from actors.shared.settings import Settings
from api.doors import live, sse
from tests.api.doors.reading import events_of
from tests.api.gateway import Writer, a_killmail, serve
from tests.support.browser import open_browser

COUNT = 300
CLIENTS = 10
BREAKS = 15

PAGE = """
address => new Promise(resolve => {
  window.got = []
  window.ends = []
  const source = new EventSource(address)
  for (const kind of ["added", "updated", "imported"])
    source.addEventListener(kind, event => window.got.push(JSON.parse(event.data).sequence))
  source.addEventListener("end", event => window.ends.push(JSON.parse(event.data).reason))
  source.onopen = resolve
})
"""


async def test_streams_that_break_have_each_killmail_once(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    async def follow(seed: int) -> list[int]:
        """Read all that has an odd id, and break the stream again and again."""
        chance, got, last_id = random.Random(seed), list[int](), "0"
        breaks = sorted(chance.sample(range(COUNT), BREAKS))
        while len(got) < COUNT // 2:
            headers = {"Last-Event-ID": last_id}
            async with events_of(client, "/feed.sse?victim.shipTypeId=587", **headers) as events:
                until = breaks.pop(0) if breaks else COUNT
                while len(got) < min(until, COUNT // 2):
                    event = await events.next()
                    last_id = event.get("id", last_id)
                    if "data" in event:
                        got.append(int(event["id"]))
        return got

    following = [asyncio.create_task(follow(seed)) for seed in range(CLIENTS)]
    for start in range(1, COUNT + 1, 10):
        bodies = [_body(id_) for id_ in range(start, start + 10)]
        entries = await writer.store(*bodies)
        if start % 30 == 1:  # the message is lost
            await writer.mark(*entries)
        else:
            await writer.publish(*entries)
        await asyncio.sleep(0.01)
    async with asyncio.timeout(20):
        assert await asyncio.gather(*following) == [list(range(1, COUNT, 2))] * CLIENTS


def _body(killmail_id: int) -> bytes:
    ship = 587 if killmail_id % 2 else 2
    return a_killmail(killmail_id, victim={"ship_type_id": ship, "damage_taken": 1})


async def test_a_browser_resumes_where_it_was(
    settings: Settings, writer: Writer, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(sse, "RECONNECT_MS", (50, 60))
    await writer.add(1)
    async with open_browser() as browser:
        page = await browser.new_page()
        async with serve(settings, unused_tcp_port) as address:
            await page.evaluate(PAGE, f"{address}/feed.sse?minAttackers=1")
            await writer.add(2)
            await _until(page, "window.got", [2])
            await writer.add(3)
            await _until(page, "window.got", [2, 3])
        await writer.add(4, 5)
        async with serve(settings, unused_tcp_port):
            await _until(page, "window.got", [2, 3, 4, 5])
            await writer.add(6)
            await _until(page, "window.got", [2, 3, 4, 5, 6])
        await _until(page, "window.ends", ["restarting", "restarting"])


async def _until(page: Any, what: str, expected: list[Any]) -> None:
    async with asyncio.timeout(10):
        while (got := await page.evaluate(what)) != expected:
            assert got == expected[: len(got)]
            await asyncio.sleep(0.02)
