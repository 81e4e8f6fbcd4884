"""Events: short-lived messages to whoever listens now, by Redis or inside this process.

What both ways promise, and one test suite holds:

- A message is a str. It reaches every subscriber of its channel that could keep up, in the order
  in which one publisher published.
- `subscribe` comes back when the subscription stands: what is published after that arrives.
- Nothing is kept for those who are away. An **empty message** says: what came before it may have
  been missed (the connection broke and stands again). It may come at any time.
- A reader that falls behind loses the oldest messages, counted; memory stays bounded.
- At least once: a message whose publishing was retried may arrive twice.

So a reader that must miss nothing numbers its messages, and reads gaps from where they are kept.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from broadcaster import Broadcast
from broadcaster._base import Subscriber

from actors.shared.events.bounded_queue import BoundedQueue
from actors.shared.events.connectivity import Connectivity
from actors.shared.events.memory import MemoryBackend
from actors.shared.events.redis import NotPublished, RedisBackend
from actors.shared.settings import Settings

__all__ = ["Connectivity", "Events", "NotPublished", "open_events"]


@asynccontextmanager
async def open_events(settings: Settings) -> AsyncIterator["Events"]:
    """Open the events; they belong to the running event loop and close with the block.

    Opening never waits for Redis: it connects, and reconnects, on the side.
    Publishing raises `NotPublished` when Redis stays away for some seconds.
    """
    backend: RedisBackend | MemoryBackend
    if settings.redis_url:
        backend = RedisBackend(settings.redis_url)
    else:
        backend = MemoryBackend(str(settings.data_dir.resolve()))
    events = Events(backend, settings.named)
    await events.connect()
    try:
        yield events
    finally:
        await events.disconnect()


class Events(Broadcast):
    """Broadcaster's interface, made safe for concurrent first subscribers and for slow ones.

    Broadcaster's own way subscribes the backend once per channel and lets concurrent first
    subscribers overwrite each other; here each one asks, and the backends take that as one.
    """

    def __init__(
        self, backend: RedisBackend | MemoryBackend, named: Callable[[str], str] = str
    ) -> None:
        super().__init__(backend=backend)
        self.connectivity = backend.connectivity
        self._named = named
        """Puts the namespace before a channel's name."""

    async def publish(self, channel: str, message: str) -> None:
        """Publish to who subscribes to the channel in this namespace."""
        await super().publish(self._named(channel), message)

    @asynccontextmanager
    async def subscribe(self, channel: str) -> AsyncIterator[Subscriber]:
        """Subscribe for the length of the block; waits until the subscription stands."""
        channel = self._named(channel)
        queue = BoundedQueue()
        readers = self._subscribers.setdefault(channel, set())
        readers.add(queue)
        try:
            await self._backend.subscribe(channel)
            yield Subscriber(queue)
        finally:
            readers.discard(queue)
            if not readers and self._subscribers.get(channel) is readers:
                del self._subscribers[channel]
                await self._backend.unsubscribe(channel)
            queue.put_nowait(None)

    async def disconnect(self) -> None:
        """Close; who still reads comes to the end of its messages."""
        self._listener_task.cancel()
        await asyncio.wait([self._listener_task])
        await self._backend.disconnect()
        for readers in self._subscribers.values():
            for queue in readers:
                queue.put_nowait(None)
