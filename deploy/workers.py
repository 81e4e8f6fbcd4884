"""Run the actors in this process, in Dramatiq's worker threads.

Dramatiq's own command isn't used: its processes survive a killed master, hang when a supervisor
signals the whole group, and wait for a frozen server without a limit.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Final

import structlog

from actors.shared.settings import Settings
from actors.shared.startup import ends_before

log: Final = structlog.get_logger()

STOP_MS: Final = 8_000
"""How long running actors may take at shutdown; RabbitMQ redelivers the other messages."""
WAKE_MS: Final = 500
"""Interval at which idle threads check whether they must stop."""


async def can_start(settings: Settings, stop: asyncio.Event) -> bool:
    """Open the actors' resources once; return False if `stop` is set before they are open.

    Waits for unavailable servers. The worker opens them in a thread, where the wait can't be
    cancelled.

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
    threads: int, queues: Collection[str] = (), stop_ms: int = STOP_MS
) -> AsyncIterator[None]:
    """Run the actors of these queues, all by default, until the block ends.

    Raises:
        KillstreamError: a resource of the actors can't be opened.
    """
    from dramatiq import Worker
    from dramatiq.middleware import MiddlewareError

    from actors.worker import broker

    worker = Worker(
        broker,
        queues=set(queues) or None,
        worker_threads=threads,
        worker_timeout=WAKE_MS,
    )
    try:
        await asyncio.to_thread(worker.start)
    except MiddlewareError as error:
        raise error.__cause__ or error from None
    log.info("ready", part="actors", queues=sorted(queues) or "all", threads=threads)
    try:
        yield
    finally:
        await asyncio.to_thread(worker.stop, stop_ms)
        await asyncio.to_thread(broker.close)
