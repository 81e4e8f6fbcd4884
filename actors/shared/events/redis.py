"""Events over Redis, with reconnects and bounded memory."""

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

from actors.shared.cancellation import REDIS_RETRY_S, cancel_and_wait
from actors.shared.errors import KillstreamError
from actors.shared.events.bounded_queue import BoundedQueue
from actors.shared.events.connectivity import Connectivity
from actors.shared.metrics import EVENTS_SUBSCRIBED

PATIENCE_S: Final = 5
"""How long publishing retries while Redis is unavailable."""
QUIET_S: Final = 5
"""Time without data before a PING; after the same time again the connection is lost."""

_UNAVAILABLE: Final = (RedisError, OSError)
_log: Final = structlog.get_logger()


class NotPublished(KillstreamError):
    """A message couldn't be published. Subscribers may have received it."""


class RedisBackend(BroadcastBackend):
    """Broadcaster's backend on one connection for reading and a pool for publishing."""

    def __init__(self, url: str) -> None:
        once = Retry(NoBackoff(), 0)  # we retry and log ourselves
        timeouts = {"socket_timeout": QUIET_S, "socket_connect_timeout": QUIET_S}
        self._pool = ConnectionPool.from_url(url, retry=once, **timeouts)
        self._publisher = Redis(connection_pool=self._pool)
        self._arrived = BoundedQueue()
        self._subscribed: dict[str, asyncio.Event] = {}
        """Requested channels; set while Redis has confirmed the subscription."""
        self._connection: AbstractConnection | None = None
        self._pauses_s = _pauses_s()

    async def connect(self) -> None:
        """Start reading in the background."""
        self._reader = asyncio.create_task(self._read_forever(), name="events reader")

    async def disconnect(self) -> None:
        """Stop reading and close every connection."""
        await cancel_and_wait(self._reader, retry_s=REDIS_RETRY_S)
        await self._publisher.aclose()
        await self._pool.aclose()

    async def subscribe(self, channel: str) -> None:
        """Subscribe to a channel; returns when Redis has confirmed it, without a time limit."""
        if channel not in self._subscribed:
            self._subscribed[channel] = asyncio.Event()
            with suppress(*_UNAVAILABLE):  # the reader subscribes after its reconnect
                await self._send_subscribe(channel)
        await self._subscribed[channel].wait()

    async def unsubscribe(self, channel: str) -> None:
        """Do nothing: channels are few, and the next reader needn't wait for Redis."""

    async def publish(self, channel: str, message: str) -> None:
        """Publish; retries for `PATIENCE_S` while Redis is unavailable.

        Raises:
            NotPublished: Redis stayed unavailable.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_S
        for pause_s in _pauses_s():
            try:
                await self._publisher.publish(channel, message)
            except _UNAVAILABLE as error:
                if loop.time() + pause_s > deadline:
                    raise NotPublished(f"Redis is unavailable: {error}") from error
                await asyncio.sleep(pause_s)
            else:
                return

    async def connectivity(self) -> Connectivity:
        """Ping Redis, with a time limit of 1 s."""
        try:
            async with asyncio.timeout(1):
                publish = bool(await self._publisher.execute_command("PING"))
        except (*_UNAVAILABLE, TimeoutError):
            publish = False
        subscribed = self._connection is not None and all(
            s.is_set() for s in self._subscribed.values()
        )
        return Connectivity(publish, subscribed)

    async def next_published(self) -> Event:
        """Wait for the next message, or the empty one after a reconnect."""
        event = await self._arrived.get()
        assert event  # this queue has no end mark
        return event

    async def _send_subscribe(self, *channels: str) -> None:
        if self._connection and channels:
            await self._connection.send_command("SUBSCRIBE", *channels)

    async def _read_forever(self) -> None:
        while True:
            try:
                await self._read()
            except _UNAVAILABLE as error:
                pause_s = next(self._pauses_s)
                _log.warning("events.disconnected", error=str(error), retry_in_s=pause_s)
                await asyncio.sleep(pause_s)

    async def _read(self) -> None:
        connection = await self._pool.get_connection()
        try:
            self._connection = connection
            await self._send_subscribe(*self._subscribed)
            await self._listen(connection)
        finally:
            self._connection = None
            for confirmed in self._subscribed.values():
                confirmed.clear()
            await connection.disconnect()
            await self._pool.release(connection)

    async def _listen(self, connection: AbstractConnection) -> NoReturn:
        pinged = False
        while True:
            answer = await connection.read_response(timeout=QUIET_S)
            if answer is not None:
                pinged = False
                self._handle(answer)
            elif pinged:
                raise TimeoutError(f"no answer to a PING for {QUIET_S} s")
            else:
                pinged = True
                await connection.send_command("PING")

    def _handle(self, answer: Any) -> None:
        match answer:
            case [b"message", bytes(channel), bytes(message)]:
                text = message.decode(
                    errors="replace"
                )  # another program's bytes must not stop the reader
                self._arrived.put_nowait(Event(channel.decode(), text))
            case [b"subscribe", bytes(channel), _]:
                EVENTS_SUBSCRIBED.inc()
                self._pauses_s = _pauses_s()
                self._subscribed[channel.decode()].set()
                self._arrived.put_nowait(Event(channel.decode(), ""))


def _pauses_s() -> Iterator[float]:
    """Yield pauses: 0.05 s, doubled up to 1 s, with jitter."""
    pause_s = 0.05
    while True:
        yield round(pause_s * random.uniform(0.5, 1), 3)
        pause_s = min(2 * pause_s, 1)
