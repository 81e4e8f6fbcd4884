"""Events inside one process: from any event loop to any other, in any thread."""

import asyncio
import threading
from collections import defaultdict
from typing import Final

from broadcaster import BroadcastBackend, Event

from actors.shared.events.bounded_queue import BoundedQueue
from actors.shared.events.connectivity import Connectivity

_lock: Final = threading.Lock()
_readers: Final[dict[tuple[str, str], set["MemoryBackend"]]] = defaultdict(set)
"""Who listens to (hub, channel), whichever loop it runs on."""


class MemoryBackend(BroadcastBackend):
    """One end of a hub, on the loop that connects it. Ends with one `hub` name hear each other."""

    def __init__(self, hub: str) -> None:
        self._hub = hub
        self._arrived = BoundedQueue()

    async def connect(self) -> None:
        """Belong to the running loop."""
        self._loop = asyncio.get_running_loop()

    async def disconnect(self) -> None:
        """Hear nothing more."""
        with _lock:
            for readers in _readers.values():
                readers.discard(self)

    async def subscribe(self, channel: str) -> None:
        """Hear a channel; again is fine."""
        with _lock:
            _readers[self._hub, channel].add(self)

    async def unsubscribe(self, channel: str) -> None:
        """Hear the channel no more."""
        with _lock:
            _readers[self._hub, channel].discard(self)

    async def publish(self, channel: str, message: str) -> None:
        """Hand a message over to every loop that listens."""
        event = Event(channel, message)
        with _lock:  # so that no reader's loop closes meanwhile
            for reader in _readers[self._hub, channel]:
                reader._loop.call_soon_threadsafe(reader._arrived.put_nowait, event)

    async def connectivity(self) -> Connectivity:
        """Tell that all is well: there is nothing that could be away."""
        return Connectivity(publish=True, subscribe=True)

    async def next_published(self) -> Event:
        """Wait for the next message of the channels that this end hears."""
        event = await self._arrived.get()
        assert event  # nobody ends this backlog
        return event
