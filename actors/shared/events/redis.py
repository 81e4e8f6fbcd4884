"""Events over Redis: subscribed before read, for ever reconnecting, bounded."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, NoReturn

import structlog
from broadcaster import BroadcastBackend, Event
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from actors.shared.errors import KillstreamError
from actors.shared.events.bounded_queue import BoundedQueue
from actors.shared.events.connectivity import Connectivity
from actors.shared.metrics import EVENTS_SUBSCRIBED

PATIENCE_S: Final = 5
"""How long publishing tries again while Redis is away."""
QUIET_S: Final = 5
"""After so much silence a PING goes out; after as much again the connection counts as lost."""

_UNAVAILABLE: Final = (RedisError, OSError)
_log: Final = structlog.get_logger()


class NotPublished(KillstreamError):
    """A message couldn't be published: Redis is away. Who is subscribed may have it or not."""


class RedisBackend(BroadcastBackend):
    """Broadcaster's backend on one connection for reading and a pool for publishing."""

    def __init__(self, url: str) -> None:
        once = Retry(NoBackoff(), 0)  # we retry ourselves, where it is seen
        timeouts = {"socket_timeout": QUIET_S, "socket_connect_timeout": QUIET_S}
        self._pool = ConnectionPool.from_url(url, retry=once, **timeouts)
        self._publisher = Redis(connection_pool=self._pool)
        self._arrived = BoundedQueue()
        self._stands: dict[str, asyncio.Event] = {}
        """Channels asked for; set while Redis has confirmed them."""
        self._connection: AbstractConnection | None = None
        self._pauses_s = _pauses_s()

    async def connect(self) -> None:
        """Start reading, on the side."""
        self._reader = asyncio.create_task(self._read_for_ever(), name="events reader")

    async def disconnect(self) -> None:
        """Stop reading and close every connection."""
        self._reader.cancel()
        await asyncio.wait([self._reader])
        await self._publisher.aclose()
        await self._pool.aclose()

    async def subscribe(self, channel: str) -> None:
        """Hear a channel; comes back when Redis has confirmed it, however long it is away."""
        if channel not in self._stands:
            self._stands[channel] = asyncio.Event()
            with suppress(*_UNAVAILABLE):  # then the reader asks when it is back
                await self._ask_for(channel)
        await self._stands[channel].wait()

    async def unsubscribe(self, channel: str) -> None:
        """Stay subscribed: channels are few, and the next reader needn't wait for Redis."""

    async def publish(self, channel: str, message: str) -> None:
        """Publish, and try again for `PATIENCE_S` while Redis is away.

        Raises:
            NotPublished: Redis stayed away.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_S
        for pause_s in _pauses_s():
            try:
                await self._publisher.publish(channel, message)
            except _UNAVAILABLE as error:
                if loop.time() + pause_s > deadline:
                    raise NotPublished(f"Redis is away: {error}") from error
                await asyncio.sleep(pause_s)
            else:
                return

    async def connectivity(self) -> Connectivity:
        """Ask Redis, for a second at most."""
        try:
            async with asyncio.timeout(1):
                publish = bool(await self._publisher.execute_command("PING"))
        except (*_UNAVAILABLE, TimeoutError):
            publish = False
        stand = self._connection is not None and all(s.is_set() for s in self._stands.values())
        return Connectivity(publish, stand)

    async def next_published(self) -> Event:
        """Wait for the next message, or the empty one that says that some may be missing."""
        event = await self._arrived.get()
        assert event  # nobody ends this backlog
        return event

    async def _ask_for(self, *channels: str) -> None:
        if self._connection and channels:
            await self._connection.send_command("SUBSCRIBE", *channels)

    async def _read_for_ever(self) -> None:
        while True:
            try:
                await self._read()
            except _UNAVAILABLE as error:
                pause_s = next(self._pauses_s)
                _log.warning("events: Redis is away", error=str(error), again_in_s=pause_s)
                await asyncio.sleep(pause_s)

    async def _read(self) -> None:
        connection = await self._pool.get_connection()
        try:
            self._connection = connection
            await self._ask_for(*self._stands)
            await self._listen(connection)
        finally:
            self._connection = None
            for stands in self._stands.values():
                stands.clear()
            await connection.disconnect()
            await self._pool.release(connection)

    async def _listen(self, connection: AbstractConnection) -> NoReturn:
        asked = False
        while True:
            answer = await connection.read_response(timeout=QUIET_S)
            if answer is not None:
                asked = False
                self._take(answer)
            elif asked:
                raise TimeoutError(f"no answer to a PING for {QUIET_S} s")
            else:
                asked = True
                await connection.send_command("PING")

    def _take(self, answer: Any) -> None:
        match answer:
            case [b"message", bytes(channel), bytes(message)]:
                text = message.decode(errors="replace")  # a stranger's bytes must not stop us
                self._arrived.put_nowait(Event(channel.decode(), text))
            case [b"subscribe", bytes(channel), _]:
                EVENTS_SUBSCRIBED.inc()
                self._pauses_s = _pauses_s()
                self._stands[channel.decode()].set()
                self._arrived.put_nowait(Event(channel.decode(), ""))


def _pauses_s() -> Iterator[float]:
    """Back off: 0.05 s, doubled up to 1 s, each a little random so that clients spread out."""
    pause_s = 0.05
    while True:
        yield round(pause_s * random.uniform(0.5, 1), 3)
        pause_s = min(2 * pause_s, 1)
