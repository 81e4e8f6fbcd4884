"""Run the actors in this process, in Dramatiq's worker threads.

Dramatiq's own command isn't used: its processes survive a killed master, hang when a supervisor
signals the whole group, and wait for a frozen server without a limit.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from functools import partial
from threading import Thread
from typing import Final

import structlog

from actors.shared.daemon import in_daemon, start_in_daemon
from actors.shared.heartbeat import HOST, STARTED_AT, Heartbeat, beating
from actors.shared.queues import Queue
from actors.shared.settings import Settings, settings
from actors.shared.startup import ends_before
from actors.shared.supervisor import READY, notify
from deploy.pools import Pool, PooledWorker, read_pools

log: Final = structlog.get_logger()

STOP_MS: Final = 5_000
"""How long running actors may take at shutdown; RabbitMQ redelivers the other messages."""
WAKE_MS: Final = 500
"""Interval at which idle threads check whether they must stop."""
LAST_S: Final = 0.5
"""How long threads that were left behind may take to log why, before the process ends."""
CANCEL_S: Final = 4.0
"""How long a cancelled start may take to close what it has opened."""


async def can_start(settings: Settings, stop: asyncio.Event) -> bool:
    """Open the actors' resources once; return False if `stop` is set before they are open.

    Waits for unavailable servers.

    Raises:
        KillstreamError: a resource can't be opened.
    """
    from actors.resources import open_resources

    async def open_once() -> None:
        async with open_resources(settings):
            pass

    return await ends_before(stop, open_once())


@asynccontextmanager
async def running_actors(
    threads: int,
    stop: asyncio.Event,
    queues: Collection[str] = (),
    stop_ms: int = STOP_MS,
    pools: Mapping[Queue, Pool] | None = None,
) -> AsyncIterator[None]:
    """Run the actors of these queues, all by default, until the block ends.

    When `stop` is set during the start, the block runs without them. The queues of `pools` have
    threads of their own; the others share `threads`.

    Raises:
        KillstreamError: a resource of the actors can't be opened.
    """
    from dramatiq.middleware import MiddlewareError

    from actors.broker import cancel_start
    from actors.worker import broker

    own = read_pools() if pools is None else pools
    worker = PooledWorker(
        broker,
        pools={settings().named(queue): pool for queue, pool in own.items()},
        queues=set(queues) or None,
        worker_threads=threads,
        worker_timeout=WAKE_MS,
    )
    starting = start_in_daemon(worker.start, "actors start")
    try:
        if await ends_before(stop, _ended(starting)):
            log.info("ready", part="actors", queues=sorted(queues) or "all", threads=threads)
            notify(READY)
        else:
            cancel_start(broker)
            with suppress(MiddlewareError, TimeoutError):
                await asyncio.wait_for(_ended(starting), CANCEL_S)
    except MiddlewareError as error:
        raise error.__cause__ or error from None
    try:
        async with beating(settings(), partial(_describe, queues)):
            yield
    finally:
        if starting.done() and not starting.exception():
            await in_daemon(partial(worker.stop, stop_ms), "actors stop")
            await in_daemon(broker.close, "rabbitmq close")
            await in_daemon(partial(join_threads, worker.workers, LAST_S), "actors end")


def join_threads(threads: Iterable[Thread], within_s: float) -> None:
    """Wait until threads have ended, or the time is over."""
    end_s = time.monotonic() + within_s
    for thread in threads:
        thread.join(max(0.0, end_s - time.monotonic()))


def _describe(queues: Collection[str]) -> Heartbeat:
    """Describe this process and the queues that it consumes, all by default."""
    from actors.broker import broker

    beats = broker.consumption.beats(queues or broker.get_declared_queues())
    return Heartbeat("actors", HOST, STARTED_AT, broker.with_ready(beats))


async def _ended(starting: "Future[None]") -> None:
    await asyncio.wrap_future(starting)
