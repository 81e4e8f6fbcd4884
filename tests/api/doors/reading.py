"""What tests of the doors read with."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

Event = dict[str, str]


class Events:
    """A client of Server-Sent Events that shows every field, comments as `comment`."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def next(self) -> Event:
        """Read up to the next empty line."""
        event: Event = {}
        while line := (await self.answer.content.readline()).decode().rstrip("\n"):
            name, _, value = line.partition(": ")
            event[name or "comment"] = value
        return event

    async def data(self) -> Any:
        """Read the data of the next event that has some."""
        while "data" not in (event := await self.next()):
            pass
        return msgspec.json.decode(event["data"])


@asynccontextmanager
async def events_of(
    client: aiohttp.ClientSession, path: str = "/feed.sse", **headers: str
) -> AsyncIterator[Events]:
    async with client.get(path, headers=headers, timeout=aiohttp.ClientTimeout(20)) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        events = Events(answer)
        assert "retry" in await events.next()
        yield events


@asynccontextmanager
async def lines_of(client: aiohttp.ClientSession, path: str) -> AsyncIterator[AsyncIterator[Any]]:
    async with client.get(path, timeout=aiohttp.ClientTimeout(20)) as answer:
        assert (answer.status, answer.content_type) == (200, "application/x-ndjson")
        yield (msgspec.json.decode(line) async for line in answer.content)
