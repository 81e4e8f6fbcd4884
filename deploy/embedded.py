"""Everything in one process: streams, actors and the gateway, with what they need.

Each part is the same code as on many hosts; what has no URL in the settings is embedded.
"""

import asyncio
import os
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import Final

from actors.shared.counts import counts
from actors.shared.errors import Misconfigured
from actors.shared.settings import PREFIX, Settings, settings
from actors.shared.startup import ends_before
from actors.shared.topics import create_topics
from deploy.contact import check_contact
from deploy.datadir import hold_data_dir
from deploy.eventlog import EventLog, maintain, open_event_log
from deploy.migrate import migrate
from deploy.ports import listen
from deploy.workers import can_start, running_actors

WORKER_THREADS: Final = 8
"""Units of work at once in the one process."""
RESTART_S: Final = 5.0
"""How long an event log that was started anew may take to make its topics."""
WORKER_STOP_MS: Final = 1_500
"""How long running units of work may take at the end; the ledger brings back the others."""


LEAST_POOL: Final = 4
"""Connections to PostgreSQL that the parts need: the gateway two, the others one each."""


async def run_embedded(configured: Settings, stop: asyncio.Event) -> None:
    """Run all parts until `stop` is set or one of them breaks; then end them in order.

    Raises:
        Misconfigured: an upstream that isn't on this machine has no contact, the address or the
            data directory is used by another process, or the parts have too few connections to
            PostgreSQL.
        ExceptionGroup: of what broke.
    """
    check_contact(configured)
    if configured.database_url and configured.database_pool_size < LEAST_POOL:
        raise Misconfigured(
            f"KILLSTREAM_DATABASE_POOL_SIZE must be {LEAST_POOL} at least for `killstream up`,"
            " where all parts share the connections"
        )
    listen(configured).close()
    async with AsyncExitStack() as stack:
        if not (configured.database_url and configured.redis_url):
            stack.enter_context(hold_data_dir(configured.data_dir))
        if configured.kafka_url:
            await _run_parts(configured, stop, asyncio.Event())
            return
        url, event_log = await stack.enter_async_context(open_event_log())
        os.environ[PREFIX + "KAFKA_URL"] = url
        settings.cache_clear()
        await _run_on(event_log, settings(), stop)


async def _run_on(event_log: EventLog, configured: Settings, stop: asyncio.Event) -> None:
    """Run all parts on an event log that is started anew when needed, also while they end."""
    forgot = asyncio.Event()

    async def restarted() -> None:
        await create_topics(configured, wait_s=RESTART_S)
        forgot.set()

    async with asyncio.TaskGroup() as group:
        maintaining = group.create_task(
            _part(maintain(event_log, restarted, counts), stop), name="event log"
        )
        await _run_parts(configured, stop, forgot)
        maintaining.cancel()


async def _run_parts(configured: Settings, stop: asyncio.Event, forgot: asyncio.Event) -> None:
    if not await ends_before(stop, migrate(configured)):
        return
    of_streams, of_gateway = share_connections(configured)
    # Imported now: the actors read the settings, which are complete only here.
    from deploy.gateway import run_gateway
    from streams.worker import run_streams

    await asyncio.sleep(0)  # importing takes seconds, in which `stop` may have been asked for
    if stop.is_set() or not await can_start(settings(), stop):
        return
    async with running_actors(WORKER_THREADS, stop_ms=WORKER_STOP_MS), asyncio.TaskGroup() as group:
        group.create_task(_part(run_streams(of_streams, stop, forgot), stop), name="streams")
        group.create_task(_part(run_gateway(of_gateway, stop), stop), name="gateway")


def share_connections(configured: Settings) -> tuple[Settings, Settings]:
    """Divide the connections to PostgreSQL among the parts of this process.

    Gives the settings of streams and gateway; the actors, which read theirs by themselves, find
    the rest there.
    """
    size = configured.database_pool_size
    streams, gateway = max(1, size // 4), max(2, size // 4)
    os.environ[PREFIX + "DATABASE_POOL_SIZE"] = str(max(1, size - streams - gateway))
    settings.cache_clear()
    return (
        configured.model_copy(update={"database_pool_size": streams}),
        configured.model_copy(update={"database_pool_size": gateway}),
    )


async def _part(running: Awaitable[None], stop: asyncio.Event) -> None:
    """Run one part; when it ends all shall end, within the limit of a shutdown."""
    try:
        await running
    finally:
        stop.set()
