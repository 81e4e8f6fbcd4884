"""Poll the configured source in one process at a time.

Step 1 of the flow. Of several processes one holds the lock and polls; when it dies another takes
over.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog
from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.settings import Settings
from streams.intake import Intake
from streams.ledger import Fenced
from streams.lock import LockLost, run_alone
from streams.outage import reason_of
from streams.poller import Counts, Poller, PollOptions, Refuse, Send
from streams.sources.r2z2 import open_r2z2, r2z2_name
from streams.sources.redisq import open_redisq, redisq_name
from streams.sources.step import Source
from streams.sources.waits import Waits

__all__ = ["Counts", "PollOptions", "open_source", "poll"]

log: Final = structlog.get_logger()


async def poll(
    settings: Settings,
    database: AsyncEngine,
    send: Send,
    refuse: Refuse,
    stop: asyncio.Event,
    counts: Counts | None = None,
    options: PollOptions | None = None,
    forgot: asyncio.Event | None = None,
    intake: Intake | None = None,
) -> Counts:
    """Poll until `stop` is set; then send what was fetched and return the counts.

    At least once: after a crash references may be sent again. `send` and `refuse` return when the
    event log or the broker has stored their arguments; their `OUTAGES` are retried. Cancellation
    loses nothing that is in the ledger. Set `forgot` when the event log has lost its data: all
    received entries of the ledger become due at once. While `intake` is paused nothing new is
    read; what is in the ledger is sent again when it is due.

    Raises:
        Misconfigured: the source can't be polled with these settings; says which.
        UpstreamRetired: the upstream was shut down.
    """
    counts, options = counts or Counts(), options or PollOptions()
    if settings.source == "none":
        return counts
    name = r2z2_name(settings) if settings.source == "r2z2" else redisq_name(settings)

    async def work(ending: asyncio.Event) -> None:
        async with open_source(settings, options.waits, database) as source:
            poller = Poller(source, database, send, refuse, counts, options, forgot, intake)
            await poller.run(ending)

    try:
        await _until_stopped(settings, name, work, stop, options)
    finally:
        log.info(
            "poll.ended",
            source=name,
            received=counts.received,
            refused=counts.refused,
            recalled=counts.recalled,
            skipped=dict(counts.skipped),
        )
    return counts


@asynccontextmanager
async def open_source(
    settings: Settings, waits: Waits, database: AsyncEngine
) -> AsyncIterator[Source]:
    """Open the source that the settings select.

    Raises:
        Misconfigured: a setting it needs is missing; says which.
    """
    if settings.source == "redisq":
        async with open_redisq(settings, waits) as redisq:
            yield redisq
    else:
        async with open_r2z2(settings, waits, database) as r2z2:
            yield r2z2


async def _until_stopped(
    settings: Settings,
    name: str,
    work: Callable[[asyncio.Event], Awaitable[None]],
    stop: asyncio.Event,
    options: PollOptions,
) -> None:
    """Acquire the lock and run `work`; repeats until `work` returns or `stop` is set."""
    lock = settings.named(f"killstream:poll:{name}")
    end_s = options.given_once_s + options.drain_s
    while not stop.is_set():
        try:
            await run_alone(settings.redis_url, lock, work, stop, options.lease, end_s=end_s)
            return
        except Fenced as error:
            log.warning("poll.fenced", source=name, reason=str(error))
            pause_s = options.lease.lasts_s
        except (LockLost, RedisError, OSError) as error:
            log.warning("poll.paused", what="the lock in Redis", reason=reason_of(error))
            pause_s = options.lease.renewed_every_s
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause_s)
