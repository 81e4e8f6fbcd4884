"""A circuit breaker: tells one request's trouble from an outage of its whole group."""

import asyncio
import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

WHILE_OPEN: Final = 2
"""So many different requests fail after a pause, and the next pause begins."""


@dataclass
class Breaker:
    """One of a rate limit group, in one process and event loop.

    It opens when several different requests fail in a row, without a good answer between them:
    one request that fails again and again neither opens it nor has the group pause again. While
    it is open, `probing` lets one request through at a time. The first good answer closes it.
    """

    failures: int = 0
    """Failures since the last good answer."""
    probing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _failed: set[Hashable] = field(default_factory=set)
    _backoffs: int = 0
    _until_s: float = 0.0

    @property
    def is_open(self) -> bool:
        """Return whether the group counts as unavailable."""
        return self._backoffs > 0

    def succeed(self) -> None:
        """Count a good answer."""
        self.failures = self._backoffs = 0
        self._failed.clear()

    def fail(self, request: Hashable, limit: int) -> bool:
        """Count a failure; return whether the group is to back off.

        Args:
            request: what failed; the same one is counted once.
            limit: how many different ones in a row open the breaker.
        """
        self.failures += 1
        self._failed.add(request)
        return len(self._failed) >= (WHILE_OPEN if self.is_open else limit)

    def back_off_ms(self, first_ms: int, most_ms: int) -> int:
        """Give the length of the next pause, each twice as long as the one before.

        While one goes on, gives what is left of it: requests in flight fail together.
        """
        self._failed.clear()
        now_s = time.monotonic()
        if now_s >= self._until_s or not self.is_open:
            delay_ms = min(first_ms * 2 ** min(self._backoffs, 20), most_ms)
            self._backoffs += 1
            self._until_s = now_s + delay_ms / 1000
        return max(1, int((self._until_s - now_s) * 1000))
