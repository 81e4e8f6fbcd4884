"""One at a time among many processes: a lease in Redis, which another takes over when it ends."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.asyncio.lock import Lock
from redis.exceptions import LockError, RedisError

from streams.cancellation import cancel_and_wait

log: Final = structlog.get_logger()

_TRY_EVERY_S: Final = 1.0
"""How often a waiting process looks whether the lock is free."""


class LockLost(Exception):
    """The lease couldn't be renewed in time: another process may hold it now."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Seconds. A dead holder is followed by another after `lasts_s`."""

    lasts_s: float = 15.0
    renewed_every_s: float = 4.0


async def run_alone(
    redis_url: str,
    name: str,
    work: Callable[[], Awaitable[None]],
    stop: asyncio.Event,
    lease: Lease,
) -> None:
    """Wait for the lock, then work while it is held; without a Redis just work.

    `stop` ends the waiting; ending the work is the work's own matter.

    The work is cancelled before a lease that can't be renewed runs out. A process that was
    suspended for longer than its lease notices only afterwards: what it guards must bear that.

    Raises:
        LockLost: the lease couldn't be renewed; ask for the lock again.
        RedisError: Redis can't be reached.
    """
    if not redis_url:
        await work()
        return
    async with Redis.from_url(redis_url, socket_timeout=lease.renewed_every_s) as redis:
        lock = redis.lock(name, timeout=lease.lasts_s, thread_local=False)
        standing_by = False
        while not await lock.acquire(blocking=False):
            if not standing_by:
                log.info("ready", part="standby", waits_for=name, held_by="another process")
                standing_by = True
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _TRY_EVERY_S)
            if stop.is_set():
                return
        log.info("lock.held", name=name)
        try:
            await _work_while_renewing(lock, work, lease)
        finally:
            # Not ours any more, or Redis is away: the lease runs out by itself.
            with suppress(RedisError, OSError):
                await lock.release()


async def _work_while_renewing(
    lock: Lock, work: Callable[[], Awaitable[None]], lease: Lease
) -> None:
    working = asyncio.create_task(_run(work))
    renewing = asyncio.create_task(_renew(lock, lease))
    try:
        await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_and_wait(working, renewing)
    if not working.cancelled():
        working.result()
        return
    renewing.result()


async def _run(work: Callable[[], Awaitable[None]]) -> None:
    await work()


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
