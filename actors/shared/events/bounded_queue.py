"""A queue of messages with bounded memory."""

import asyncio
from collections import deque
from typing import Final

from broadcaster import Event

from actors.shared.metrics import EVENTS_DROPPED

MAX_CHARS: Final = 32 * 1024 * 1024
"""About 8,000 entries. The newest message is never dropped."""


class BoundedQueue(asyncio.Queue[Event | None]):
    """A queue bounded by the length of its messages: `put` never waits but drops the oldest.

    None marks the end. Overrides the methods that asyncio.Queue provides for subclasses.
    """

    def _init(self, _maxsize: int) -> None:
        self._waiting: deque[Event | None] = deque()
        self._chars = 0

    def qsize(self) -> int:
        """Return the number of messages."""
        return len(self._waiting)

    def empty(self) -> bool:
        """Tell whether the queue is empty."""
        return not self._waiting

    def _put(self, item: Event | None) -> None:
        self._waiting.append(item)
        self._chars += _chars(item)
        while self._chars > MAX_CHARS and len(self._waiting) > 1:
            self._get()
            EVENTS_DROPPED.inc()

    def _get(self) -> Event | None:
        item = self._waiting.popleft()
        self._chars -= _chars(item)
        return item


def _chars(item: Event | None) -> int:
    return len(item.message) if item else 0
