"""Mutual exclusion among processes: a lease in Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.asyncio.lock import Lock
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import LockError, RedisError

from actors.shared.cancellation import cancel_and_wait

log: Final = structlog.get_logger()

_TRY_EVERY_S: Final = 1.0
"""How often a waiting process tries to acquire the lock."""


class LockLost(Exception):
    """The lease couldn't be renewed in time: another process may hold it now."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Times in seconds. The lease of a dead holder expires after `lasts_s`."""

    lasts_s: float = 15.0
    renewed_every_s: float = 4.0


async def run_alone(
    redis_url: str,
    name: str,
    work: Callable[[asyncio.Event], Awaitable[None]],
    stop: asyncio.Event,
    lease: Lease,
    *,
    end_s: float,
) -> None:
    """Acquire the lock, then run `work` while it is held; without Redis just run `work`.

    `work` gets an event that is set when it must end: `stop` was set, or the lease was lost. After
    `end_s` it is cancelled. A process that was suspended for longer than its lease notices the
    loss only afterwards, so the lock must be combined with fencing.

    Raises:
        LockLost: the lease couldn't be renewed; acquire the lock again.
        RedisError: Redis is unavailable.
    """
    ending = asyncio.Event()
    stopping = asyncio.create_task(_forward(stop, ending))
    try:
        if not redis_url:
            await work(ending)
            return
        async with _open_redis(redis_url, lease) as redis:
            lock = redis.lock(name, timeout=lease.lasts_s, thread_local=False)
            if await _until_acquired(lock, name, stopping):
                log.info("lock.acquired", name=name)
                await _work_while_renewing(lock, work, ending, lease, end_s)
    finally:
        await cancel_and_wait(stopping)


async def _forward(stop: asyncio.Event, ending: asyncio.Event) -> None:
    await stop.wait()
    ending.set()


@asynccontextmanager
async def _open_redis(redis_url: str, lease: Lease) -> AsyncIterator[Redis]:
    """Open a client whose commands have a time limit and aren't retried."""
    limit_s = lease.renewed_every_s
    redis = Redis.from_url(
        redis_url,
        socket_timeout=limit_s,
        socket_connect_timeout=limit_s,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        yield redis
    finally:
        with suppress(RedisError, OSError):
            async with asyncio.timeout(limit_s):
                await redis.aclose()


async def _until_acquired(lock: Lock, name: str, stopping: asyncio.Task[None]) -> bool:
    """Wait for the lock; False when `stop` was set first."""
    acquiring = asyncio.create_task(_acquire(lock, name))
    try:
        await asyncio.wait({acquiring, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not acquiring.done():
            return False
        acquiring.result()
        return True
    finally:
        await cancel_and_wait(acquiring)


async def _acquire(lock: Lock, name: str) -> None:
    if await lock.acquire(blocking=False):
        return
    log.info("ready", part="standby", waits_for=name, held_by="another process")
    while True:
        await asyncio.sleep(_TRY_EVERY_S)
        if await lock.acquire(blocking=False):
            return


async def _work_while_renewing(
    lock: Lock,
    work: Callable[[asyncio.Event], Awaitable[None]],
    ending: asyncio.Event,
    lease: Lease,
    end_s: float,
) -> None:
    working = asyncio.create_task(_run(work, ending))
    renewing = asyncio.create_task(_renew(lock, lease))
    try:
        await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
        ending.set()
        await asyncio.wait({working}, timeout=end_s)
    finally:
        await cancel_and_wait(working, renewing)
        # Lost, or Redis is unavailable: the lease expires.
        with suppress(LockError, RedisError, OSError):
            async with asyncio.timeout(lease.renewed_every_s):
                await lock.release()
    if not working.cancelled():
        working.result()
    if not renewing.cancelled():
        renewing.result()


async def _run(work: Callable[[asyncio.Event], Awaitable[None]], ending: asyncio.Event) -> None:
    await work(ending)


async def _renew(lock: Lock, lease: Lease) -> None:
    """Renew until it fails; ends only by raising LockLost."""
    loop = asyncio.get_running_loop()
    renewed_s = loop.time()
    while True:
        await asyncio.sleep(lease.renewed_every_s)
        began_s = loop.time()
        try:
            await lock.extend(lease.lasts_s, replace_ttl=True)
            renewed_s = began_s
        except LockError as error:
            raise LockLost(str(error)) from None
        except (RedisError, OSError) as error:
            if loop.time() + 2 * lease.renewed_every_s > renewed_s + lease.lasts_s:
                raise LockLost(f"{type(error).__name__}: {error}") from None
