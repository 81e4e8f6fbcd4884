"""Share a ban of this address by R2Z2 with the requests for history.

An upstream's ban refuses everything from an address, and requests meanwhile prolong it. Other
processes know of it by the table `request_turns`, see `actors/history/turns.py`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.history.turns import pause, paused_for_s
from actors.shared.background import in_background
from streams.outage import OUTAGES, finish

READ_EVERY_S: Final = 1.0
TRY_S: Final = 5.0
"""Time limit of one exchange with the database."""
CLOSE_S: Final = 1.0
"""How long a cancelled transaction may take to complete."""

log: Final = structlog.get_logger()


class Ban:
    """Until when no request may be sent, whoever was refused."""

    def __init__(self) -> None:
        self.until_s = 0.0
        """In seconds of the event loop."""
        self.unpublished = asyncio.Event()
        """Set when other processes don't know yet that this one was refused."""

    def begin(self, until_s: float) -> None:
        """Begin a ban, or prolong it, as this process was refused."""
        self.until_s = max(self.until_s, until_s)
        self.unpublished.set()


@asynccontextmanager
async def sharing_ban(database: AsyncEngine, upstream: str) -> AsyncIterator[Ban]:
    """Give the ban of an upstream, which is read before the block begins and while it runs.

    Without the database it is this process's own; it is published when the database is back.
    """
    ban = Ban()
    await _exchange(database, upstream, ban)
    async with in_background(_share(database, upstream, ban), "bans"):
        yield ban


async def _share(database: AsyncEngine, upstream: str, ban: Ban) -> None:
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(READ_EVERY_S):
                await ban.unpublished.wait()
        if not await _exchange(database, upstream, ban):
            await asyncio.sleep(READ_EVERY_S)


async def _exchange(database: AsyncEngine, upstream: str, ban: Ban) -> bool:
    """Publish this process's ban, and read that of others; return whether the database answers."""
    try:
        async with asyncio.timeout(TRY_S):
            await finish(_publish_and_read(database, upstream, ban), CLOSE_S)
    except OUTAGES:
        return False  # its other users log the outage
    return True


async def _publish_and_read(database: AsyncEngine, upstream: str, ban: Ban) -> None:
    now_s = asyncio.get_running_loop().time
    until_s = ban.until_s
    if ban.unpublished.is_set():
        await pause(database, upstream, max(0, round((until_s - now_s()) * 1_000)))
        if ban.until_s == until_s:
            ban.unpublished.clear()
    wait_s = await paused_for_s(database, upstream)
    if wait_s and now_s() + wait_s > ban.until_s + 1.0:
        log.warning("upstream.banned", upstream=upstream, wait_s=round(wait_s))
    if wait_s:
        ban.until_s = max(ban.until_s, now_s() + wait_s)
