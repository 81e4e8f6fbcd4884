"""RedisQ's queues: a position in the feed for each name, kept while it is polled.

Without Redis they belong to this process; with it, to all gateways.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from actors.shared.errors import KillstreamError
from actors.shared.settings import Settings

QUEUES_PER_CLIENT: Final = 100
QUEUES: Final = 10_000
"""Queues that one client may have begun, and all together, that haven't expired."""
BUSY: Final = "one request at a time per queueID"
LOCK_S: Final = 30
"""How long a poll holds its queue at most, if its gateway dies. Source: RedisQ's `listen.js`."""


class QueueBusy(KillstreamError):
    """Another request polls this queue, or the client has too many queues; says which."""


class QueuesUnavailable(KillstreamError):
    """Redis is unavailable, which has the queues."""


@dataclass
class Turn:
    """One poll of a queue; what `position` is at the end, the next poll begins with."""

    position: int


class Queues(Protocol):
    """The queues of a gateway."""

    async def begin(self, name: str, client: str, ttl_s: int, start: int) -> int:
        """Take a queue for one poll and return its position; a new one begins at `start`.

        Raises:
            QueueBusy: another request polls it, or there are too many queues.
            QueuesUnavailable: Redis is unavailable.
        """

    async def end(self, name: str, ttl_s: int, position: int) -> None:
        """Give a queue back with its new position; it lives for so long if nobody polls it.

        Raises:
            QueuesUnavailable: Redis is unavailable; the position is what it was.
        """


@asynccontextmanager
async def turn_of(
    queues: Queues, name: str, client: str, ttl_s: int, start: int
) -> AsyncIterator[Turn]:
    """Hold a queue while the block runs; raises what `begin` and `end` do."""
    turn = Turn(await queues.begin(name, client, ttl_s, start))
    try:
        yield turn
    finally:
        await asyncio.shield(queues.end(name, ttl_s, turn.position))


@asynccontextmanager
async def open_queues(settings: Settings) -> AsyncIterator[Queues]:
    """Open the queues; Redis may be unavailable."""
    if not settings.redis_url:
        yield MemoryQueues()
        return
    from api.doors.redis_queues import RedisQueues  # it imports this module

    async with RedisQueues(settings) as queues:
        yield queues


@dataclass
class _Queue:
    position: int
    client: str
    expires_at_s: float
    polled: bool = True


class MemoryQueues:
    """The queues of this process."""

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}

    async def begin(self, name: str, client: str, ttl_s: int, start: int) -> int:
        """Take a queue; see `Queues`."""
        queue = self._queues.get(name)
        if queue is None or not self._lives(queue):
            self._drop_expired()
            of_client = sum(queue.client == client for queue in self._queues.values())
            check_room(of_client >= QUEUES_PER_CLIENT, len(self._queues) >= QUEUES)
            queue = self._queues[name] = _Queue(start, client, 0.0, polled=False)
        if queue.polled:
            raise QueueBusy(BUSY)
        queue.polled = True
        return queue.position

    async def end(self, name: str, ttl_s: int, position: int) -> None:
        """Give a queue back; see `Queues`."""
        queue = self._queues[name]
        queue.polled, queue.position = False, position
        queue.expires_at_s = asyncio.get_running_loop().time() + ttl_s

    def _lives(self, queue: _Queue) -> bool:
        return queue.polled or asyncio.get_running_loop().time() < queue.expires_at_s

    def _drop_expired(self) -> None:
        self._queues = {name: queue for name, queue in self._queues.items() if self._lives(queue)}


def check_room(of_client: bool, in_all: bool) -> None:
    """Refuse another queue when the client has, or all have, as many as there may be.

    Raises:
        QueueBusy: so it is.
    """
    if of_client:
        raise QueueBusy(f"your address has {QUEUES_PER_CLIENT} queues, which is the limit")
    if in_all:
        raise QueueBusy("there are too many queues; try again later")
