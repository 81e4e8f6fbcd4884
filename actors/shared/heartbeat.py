"""What each process reports of itself: in Redis, where it expires, else in this process.

Redis has one key for each process, which expires after `EXPIRES_S`, and a set of the processes'
ids. A process that was killed disappears after that time.
"""

import asyncio
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, cast
from uuid import uuid4

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from actors.shared.background import in_background
from actors.shared.errors import DECODE_ERRORS
from actors.shared.settings import Settings

EVERY_S: Final = 4.0
EXPIRES_S: Final = 15
TIMEOUT_S: Final = 2.0
"""Time limit of one Redis command."""
RATE_BEATS: Final = 4
"""Heartbeats over which a rate is measured."""


MAX_PROCESSES: Final = 1_000
"""Processes that are read at once."""
MANY: Final = msgspec.Meta(max_length=100)
"""Bound of what one process reports."""


class QueueBeat(msgspec.Struct, frozen=True):
    """A queue as one process sees it; counts are since the start of the process."""

    unacked: int
    """Messages delivered to this process and not acknowledged: running, or waiting for a thread."""
    oldest_age_s: float | None
    """Of those, since the oldest was sent."""
    processed: int
    """Messages that ended, whatever the end."""
    killmails: int
    """References in the messages that were processed without an error."""
    ready: int | None = None
    """Only where the queue is in this process."""
    processed_per_s: float | None = None
    """Over the last `RATE_BEATS` heartbeats; None before the second."""


class Heartbeat(msgspec.Struct, frozen=True):
    """One process."""

    part: Literal["actors", "streams"]
    host: str
    started_at: datetime
    queues: Annotated[dict[str, QueueBeat], MANY] = {}
    """By full name: with the namespace, delays with `.DQ`."""
    is_polling: bool = False
    killmails: int = 0
    """References sent by the poller."""
    runs: Annotated[dict[str, datetime | None], MANY] = {}
    """The scheduled work of this process, with its last run."""
    resting: Annotated[list[str], MANY] = []
    """The scheduled work that an operator has paused."""
    age_s: float = 0.0
    """Set by the reader."""


Describe = Callable[[], Heartbeat]
_decode: Final = msgspec.json.Decoder(Heartbeat).decode
_here: Final[dict[str, Describe]] = {}
"""The parts of this process, without Redis."""
HOST: Final = socket.gethostname()
STARTED_AT: Final = datetime.now(UTC)


@asynccontextmanager
async def beating(
    settings: Settings, describe: Describe, *, every_s: float = EVERY_S
) -> AsyncIterator[None]:
    """Report this process until the block ends."""
    process_id = uuid4().hex
    _here[process_id] = rated = _with_rates(describe)
    try:
        async with in_background(_beat(settings, process_id, rated, every_s), "heartbeat"):
            yield
    finally:
        del _here[process_id]
        if settings.redis_url:
            with suppress(RedisError, OSError):
                async with _redis(settings) as redis, redis.pipeline() as pipe:
                    pipe.srem(_ids(settings), process_id)
                    pipe.delete(_key(settings, process_id))
                    await pipe.execute()


async def read_heartbeats(settings: Settings) -> list[Heartbeat]:
    """Return the processes that run: without Redis the parts of this process.

    Those that vanished are forgotten, and what another version reports in another form is left out.

    Raises:
        RedisError, OSError: Redis is unavailable.
    """
    if not settings.redis_url:
        return [describe() for describe in list(_here.values())]
    async with _redis(settings) as redis:
        members: set[bytes] = await cast(Any, redis.smembers(_ids(settings)))
        ids = sorted(one.decode() for one in members)[:MAX_PROCESSES]
        if not ids:
            return []
        keys = [_key(settings, one) for one in ids]
        async with redis.pipeline(transaction=False) as pipe:
            pipe.mget(keys)
            for key in keys:
                pipe.pttl(key)
            values, *left_ms = await pipe.execute()
        if gone := [one for one, value in zip(ids, values, strict=True) if value is None]:
            await cast(Any, redis.srem(_ids(settings), *gone))
        return [
            msgspec.structs.replace(beat, age_s=max(0.0, EXPIRES_S - left / 1000))
            for value, left in zip(values, left_ms, strict=True)
            if value is not None and (beat := _decoded(value)) is not None
        ]


def _decoded(value: bytes) -> Heartbeat | None:
    try:
        return _decode(value)
    except DECODE_ERRORS:
        return None


async def _beat(settings: Settings, process_id: str, describe: Describe, every_s: float) -> None:
    if not settings.redis_url:
        while True:  # for the rates
            describe()
            await asyncio.sleep(every_s)
    with suppress(RedisError, OSError):
        await read_heartbeats(settings)  # forgets those that crashed, though nobody may read
    async with _redis(settings) as redis:
        while True:
            with suppress(RedisError, OSError):  # its other users log the outage
                value = msgspec.json.encode(describe())
                async with redis.pipeline(transaction=False) as pipe:
                    pipe.set(_key(settings, process_id), value, ex=EXPIRES_S)
                    pipe.sadd(_ids(settings), process_id)
                    await pipe.execute()
            await asyncio.sleep(every_s)


def _with_rates(describe: Describe) -> Describe:
    """Return `describe` with the rates since a few heartbeats ago."""
    past: deque[tuple[float, Heartbeat]] = deque(maxlen=RATE_BEATS)

    def rated() -> Heartbeat:
        now_s, beat = time.monotonic(), describe()
        then_s, before = past[0] if past else (now_s, beat)
        if not past or now_s - past[-1][0] > EVERY_S / 2:
            past.append((now_s, beat))
        took_s = now_s - then_s
        if took_s < 1.0:
            return beat
        return msgspec.structs.replace(
            beat,
            queues={
                name: msgspec.structs.replace(
                    queue,
                    processed_per_s=round((queue.processed - _processed(before, name)) / took_s, 2),
                )
                for name, queue in beat.queues.items()
            },
        )

    return rated


def _processed(beat: Heartbeat, name: str) -> int:
    return beat.queues[name].processed if name in beat.queues else 0


def _redis(settings: Settings) -> Redis:
    return Redis.from_url(
        settings.redis_url,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
    )


def _ids(settings: Settings) -> str:
    return settings.named("killstream:processes")


def _key(settings: Settings, process_id: str) -> str:
    return settings.named(f"killstream:process:{process_id}")
