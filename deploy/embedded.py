"""Run streams, actors and the gateway in one process, with embedded servers.

Each part is the same code as on many hosts; a server without a URL in the settings is embedded.
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
from api.database import MIN_POOL_SIZE as OF_GATEWAY
from deploy.contact import check_contact
from deploy.datadir import lock_data_dir
from deploy.eventlog import EventLog, maintain, open_event_log
from deploy.migrate import migrate
from deploy.ports import listen
from deploy.workers import running_actors

WORKER_THREADS: Final = 8
"""Worker threads of the actors."""
RESTART_S: Final = 5.0
"""Time limit for creating the topics after a restart of the event log."""
WORKER_STOP_MS: Final = 1_500
"""How long running actors may take at shutdown; the ledger recalls the killmails of the others."""


MIN_POOL_SIZE: Final = OF_GATEWAY + 2
"""Connections to PostgreSQL that the parts require: streams and actors one each."""


async def run_embedded(configured: Settings, stop: asyncio.Event) -> None:
    """Run all parts until `stop` is set or one of them fails; then end them in order.

    Raises:
        Misconfigured: an upstream that isn't on this machine has no contact, the address or the
            data directory is used by another process, or the parts have too few connections to
            PostgreSQL.
        ExceptionGroup: the errors of the parts that failed.
    """
    check_contact(configured)
    if configured.database_url and configured.database_pool_size < MIN_POOL_SIZE:
        raise Misconfigured(
            f"KILLSTREAM_DATABASE_POOL_SIZE must be {MIN_POOL_SIZE} at least for `killstream up`,"
            " where all parts share the connections"
        )
    listen(configured).close()
    async with AsyncExitStack() as stack:
        if not (configured.database_url and configured.redis_url):
            stack.enter_context(lock_data_dir(configured.data_dir))
        if configured.kafka_url:
            await _run_parts(configured, stop, asyncio.Event())
            return
        url, event_log = await stack.enter_async_context(open_event_log())
        os.environ[PREFIX + "KAFKA_URL"] = url
        settings.cache_clear()
        await _run_with_event_log(event_log, settings(), stop)


async def _run_with_event_log(
    event_log: EventLog, configured: Settings, stop: asyncio.Event
) -> None:
    """Run all parts, and restart the event log when needed, also while they end."""
    emptied = asyncio.Event()

    async def restarted() -> None:
        await create_topics(configured, wait_s=RESTART_S)
        emptied.set()

    async with asyncio.TaskGroup() as group:
        maintaining = group.create_task(
            _part(maintain(event_log, restarted, counts), stop), name="event log"
        )
        await _run_parts(configured, stop, emptied)
        maintaining.cancel()


async def _run_parts(configured: Settings, stop: asyncio.Event, emptied: asyncio.Event) -> None:
    if not await ends_before(stop, migrate(configured)):
        return
    of_streams, of_gateway = share_connections(configured)
    # Imported here, as the actors read the settings at import, and they are complete only now.
    from deploy.gateway import run_gateway
    from streams.worker import run_streams

    await asyncio.sleep(0)  # the imports take seconds, in which a signal may have arrived
    if stop.is_set():
        return
    running = running_actors(WORKER_THREADS, stop, stop_ms=WORKER_STOP_MS)
    async with running, asyncio.TaskGroup() as group:
        group.create_task(_part(run_streams(of_streams, stop, emptied), stop), name="streams")
        group.create_task(_part(run_gateway(of_gateway, stop), stop), name="gateway")


def share_connections(configured: Settings) -> tuple[Settings, Settings]:
    """Divide the connections to PostgreSQL among the parts of this process.

    Returns:
        The settings of streams and gateway. The actors read theirs from the environment, where
        this function sets the remaining number.
    """
    size = configured.database_pool_size
    streams, gateway = max(1, size // 4), max(OF_GATEWAY, size // 4)
    os.environ[PREFIX + "DATABASE_POOL_SIZE"] = str(max(1, size - streams - gateway))
    settings.cache_clear()
    return (
        configured.model_copy(update={"database_pool_size": streams}),
        configured.model_copy(update={"database_pool_size": gateway}),
    )


async def _part(running: Awaitable[None], stop: asyncio.Event) -> None:
    """Run one part; when it ends, set `stop`, which ends all parts within the shutdown's limit."""
    try:
        await running
    finally:
        stop.set()
