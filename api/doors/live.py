"""Answers that follow the feed for as long as the client stays."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from actors.shared.cancellation import cancel_and_wait
from actors.shared.metrics import SUBSCRIBERS_CLOSED
from api.body_limit import BodyRefused
from api.doors.answers import too_many
from api.doors.client import client_of
from api.doors.metrics import DELIVERIES
from api.doors.slots import Slots, TooMany
from api.doors.state import Doors
from api.tail import Tail, TooSlow
from api.view import FeedView

HEARTBEAT_S: Final = 15.0
"""How long a client hears nothing at most."""
SEND_S: Final = 30.0
"""Time limit for sending; it waits while the client doesn't read."""
ENTRIES_AT_ONCE: Final = 16
"""Entries that are sent in one part."""
LAST_WORD_S: Final = 1.0
"""How long the end of an answer may take."""

LAGGED: Final = "lagged"
"""The client fell too far behind."""
RESTARTING: Final = "restarting"
"""The gateway shuts down: connect again."""
FAILED: Final = "failed"
"""The gateway failed; it logged why."""

_log: Final = structlog.get_logger()

Wanted = Callable[[FeedView], bool]


@dataclass(frozen=True)
class Wire:
    """How a protocol writes the feed."""

    media_type: str
    opening: Callable[[], bytes]
    entry: Callable[[FeedView], bytes]
    heartbeat: Callable[[int], bytes]
    """For the sequence up to which the client has everything."""
    end: Callable[[str, int], bytes]
    """For a reason, and the sequence from which to resume."""


class LiveAnswer(Response):
    """Follows the feed from a position until the client leaves or the gateway closes."""

    def __init__(
        self, tail: Tail, doors: Doors, slots: Slots, wire: Wire, after: int | None, wanted: Wanted
    ) -> None:
        super().__init__(media_type=wire.media_type, headers=_HEADERS)
        del self.headers["content-length"]
        self._tail = tail
        self._doors = doors
        self._slots = slots
        self._wire = wire
        self._wanted = wanted
        self._position = tail.last if after is None else after
        """All entries up to this sequence were sent or aren't wanted."""
        self._sent_at_s = 0.0
        self._sending = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse a client that has too many open."""
        try:
            client = client_of(Request(scope))
            self._turn = self._doors.turn_of(client)
            with self._slots.taken(client):
                await self._answer(scope, receive, send)
        except TooMany as error:
            await too_many(error)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            return await _send_body(send, b"", more=False)
        self._send = send
        await self._write(self._wire.opening())
        following = asyncio.create_task(self._follow(), name="door: follow")
        tasks = [
            following,
            asyncio.create_task(self._beat(), name="door: heartbeat"),
            asyncio.create_task(disconnect(receive), name="door: disconnect"),
            asyncio.create_task(self._doors.closing.wait(), name="door: closing"),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_and_wait(*tasks)
        left = not tasks[2].cancelled()
        word = b"" if left else self._wire.end(_reason(*tasks[:2]), self._position)
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORD_S):
                await _send_body(send, word, more=False)
        return None

    async def _follow(self) -> str:
        """Send entries until the client is too far behind; return why that is the end.

        Raises:
            TimeoutError: the client doesn't read.
        """
        try:
            async with aclosing(self._tail.follow_in_parts(self._position, self._turn)) as parts:
                async for views, position in parts:
                    for some in batched(views, ENTRIES_AT_ONCE):
                        await self._give(some)
                    self._position = position
        except TooSlow:
            SUBSCRIBERS_CLOSED.labels(reason="behind").inc()
        return LAGGED

    async def _give(self, views: Sequence[FeedView]) -> None:
        """Send those of some entries that are wanted, in one part."""
        wanted = [view for view in views if self._wanted(view)]
        if wanted:
            await self._write(b"".join(map(self._wire.entry, wanted)))
            DELIVERIES.labels(self._slots.door).inc(len(wanted))
        self._position = views[-1].sequence or self._position

    async def _beat(self) -> None:
        """Send heartbeats while there is nothing else, for proxies and for the client's cursor."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = self._sent_at_s + HEARTBEAT_S - loop.time()
            if due_s > 0 or self._sending:
                await asyncio.sleep(max(due_s, HEARTBEAT_S / 10))
            else:
                await self._write(self._wire.heartbeat(self._position))

    async def _write(self, data: bytes) -> None:
        """Send a part.

        Raises:
            TimeoutError: the client doesn't read.
        """
        self._sending = True
        try:
            async with asyncio.timeout(SEND_S):
                await _send_body(self._send, data, more=True)
        finally:
            self._sending = False
        self._sent_at_s = asyncio.get_running_loop().time()


def batched(views: Sequence[FeedView], size: int) -> Iterator[Sequence[FeedView]]:
    """Give so many at a time."""
    return (views[start : start + size] for start in range(0, len(views), size))


def _reason(*tasks: asyncio.Task[Any]) -> str:
    """Return why an answer ends whose client is still there."""
    for task in tasks:
        if not task.cancelled():
            error = task.exception()
            if isinstance(error, TimeoutError):
                SUBSCRIBERS_CLOSED.labels(reason="blocked").inc()
            elif error is not None:
                _log.error("door.failed", exc_info=error)
                return FAILED
            return LAGGED
    return RESTARTING


async def _send_body(send: Send, data: bytes, *, more: bool) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def disconnect(receive: Receive) -> None:
    """Wait until the client leaves, or sends a body that is refused."""
    with suppress(BodyRefused):
        while (await receive())["type"] != "http.disconnect":
            pass


_HEADERS: Final = {
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",  # nginx passes each part on at once
}
