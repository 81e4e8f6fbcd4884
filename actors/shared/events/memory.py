"""Events inside one process, between event loops in any threads."""

import asyncio
import threading
from collections import defaultdict
from typing import Final

from broadcaster import BroadcastBackend, Event

from actors.shared.events.bounded_queue import BoundedQueue
from actors.shared.events.connectivity import Connectivity

_lock: Final = threading.Lock()
_readers: Final[dict[tuple[str, str], set["MemoryBackend"]]] = defaultdict(set)
"""Subscribers of (hub, channel), on any loop."""


class MemoryBackend(BroadcastBackend):
    """A member of a hub, bound to one loop. Members with the same `hub` share channels."""

    def __init__(self, hub: str) -> None:
        self._hub = hub
        self._arrived = BoundedQueue()

    async def connect(self) -> None:
        """Bind to the running loop."""
        self._loop = asyncio.get_running_loop()

    async def disconnect(self) -> None:
        """Unsubscribe from all channels."""
        with _lock:
            for readers in _readers.values():
                readers.discard(self)

    async def subscribe(self, channel: str) -> None:
        """Subscribe to a channel. Idempotent."""
        with _lock:
            _readers[self._hub, channel].add(self)

    async def unsubscribe(self, channel: str) -> None:
        """Unsubscribe from a channel."""
        with _lock:
            _readers[self._hub, channel].discard(self)

    async def publish(self, channel: str, message: str) -> None:
        """Deliver a message to the loop of every subscriber."""
        event = Event(channel, message)
        with _lock:  # so that no reader's loop closes during delivery
            for reader in _readers[self._hub, channel]:
                reader._loop.call_soon_threadsafe(reader._arrived.put_nowait, event)

    async def connectivity(self) -> Connectivity:
        """Return that both work: there is no connection to lose."""
        return Connectivity(publish=True, subscribe=True)

    async def next_published(self) -> Event:
        """Wait for the next message of the subscribed channels."""
        event = await self._arrived.get()
        assert event  # this queue has no end mark
        return event
