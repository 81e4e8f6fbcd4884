"""Events: publish/subscribe of transient messages, by Redis or inside this process.

Both backends guarantee, and one test suite asserts:

- A message is a str. It reaches every subscriber of its channel that reads fast enough, in the
  order in which one publisher published.
- `subscribe` returns when the subscription is active: messages published after that are received.
- Messages aren't stored. An **empty message** says that messages before it may be missing (the
  connection was lost and restored). It may arrive at any time.
- A slow reader loses the oldest messages, which is counted; memory is bounded.
- At least once: a message whose publishing was retried may arrive twice.

A reader that needs every message must number them and read missing ones from a table.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from broadcaster import Broadcast
from broadcaster._base import Subscriber

from actors.shared.cancellation import REDIS_RETRY_S, cancel_and_wait
from actors.shared.events.bounded_queue import BoundedQueue
from actors.shared.events.connectivity import Connectivity
from actors.shared.events.memory import MemoryBackend
from actors.shared.events.redis import NotPublished, RedisBackend
from actors.shared.settings import Settings

__all__ = ["Connectivity", "Events", "NotPublished", "open_events"]


@asynccontextmanager
async def open_events(settings: Settings) -> AsyncIterator["Events"]:
    """Open the events; they belong to the running event loop and close with the block.

    Doesn't wait for Redis: it connects and reconnects in the background.
    Publishing raises `NotPublished` when Redis is unavailable for `PATIENCE_S`.
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
    """Broadcaster's interface, made safe for concurrent and for slow subscribers.

    In Broadcaster concurrent first subscribers of a channel overwrite each other; here each one
    subscribes at the backend, which is idempotent.
    """

    def __init__(
        self, backend: RedisBackend | MemoryBackend, named: Callable[[str], str] = str
    ) -> None:
        super().__init__(backend=backend)
        self.connectivity = backend.connectivity
        self._named = named
        """Prefixes a channel's name with the namespace."""

    async def publish(self, channel: str, message: str) -> None:
        """Publish to the subscribers of the channel in this namespace."""
        await super().publish(self._named(channel), message)

    @asynccontextmanager
    async def subscribe(self, channel: str) -> AsyncIterator[Subscriber]:
        """Subscribe for the length of the block; waits until the subscription is active."""
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
        """Close; ends the iteration of all subscribers."""
        await cancel_and_wait(self._listener_task, retry_s=REDIS_RETRY_S)
        await self._backend.disconnect()
        for readers in self._subscribers.values():
            for queue in readers:
                queue.put_nowait(None)
