"""Everything in one process: streams, actors and the gateway, with what they need.

Each part is the same code as on many hosts; what has no URL in the settings is inside.
"""

import asyncio
import os
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from actors.shared.errors import KillstreamError
from actors.shared.settings import PREFIX, Settings, settings
from deploy.eventlog import open_event_log
from deploy.migrate import migrate

WORKER_THREADS: Final = 8
"""Units of work at once in the one process."""


class EventLogEnded(KillstreamError):
    """The broker inside is gone, and with it what it held; a new start reads it again."""


async def run_embedded(configured: Settings, stop: asyncio.Event) -> None:
    """Run all parts until `stop` is set or one of them breaks; then end them in order."""
    async with AsyncExitStack() as stack:
        configured, event_log = await _with_event_log(configured, stack)
        await migrate(configured)
        # Imported now: the parts read the settings, which are complete only here.
        from deploy.gateway import run_gateway
        from streams.worker import run_streams

        await stack.enter_async_context(embedded_actors())
        async with asyncio.TaskGroup() as group:
            group.create_task(run_streams(configured, stop))
            group.create_task(run_gateway(configured, stop))
            watching = group.create_task(_raise_when_ended(event_log))
            await stop.wait()
            watching.cancel()


async def _with_event_log(
    configured: Settings, stack: AsyncExitStack
) -> tuple[Settings, Process | None]:
    """Start an event log inside unless the settings name a Kafka; give settings that name it."""
    if configured.kafka_url:
        return configured, None
    url, process = await stack.enter_async_context(open_event_log())
    os.environ[PREFIX + "KAFKA_URL"] = url
    settings.cache_clear()
    return settings(), process


async def _raise_when_ended(event_log: Process | None) -> None:
    if event_log is not None:
        code = await event_log.wait()
        raise EventLogEnded(f"the event log inside ended with code {code}; start again")


@asynccontextmanager
async def embedded_actors() -> AsyncIterator[None]:
    """Run the actors in threads of this process; they have an event loop of their own."""
    from dramatiq import Worker
    from dramatiq.middleware import MiddlewareError

    from actors.worker import broker

    worker = Worker(broker, worker_threads=WORKER_THREADS, worker_timeout=100)
    try:
        await asyncio.to_thread(worker.start)
    except MiddlewareError as error:
        raise error.__cause__ or error from None
    try:
        yield
    finally:
        await asyncio.to_thread(worker.stop)
        await asyncio.to_thread(broker.close)
