"""A circuit breaker: distinguishes one failing request from an outage of its rate limit group."""

import asyncio
import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

WHILE_OPEN: Final = 2
"""Distinct failing requests that start the next pause while the breaker is open."""


@dataclass
class Breaker:
    """The breaker of one rate limit group, in one process and event loop.

    It opens when several distinct requests fail without a success between them; repeated failures
    of one request don't open it. While it is open, `probing` admits one request at a time. The
    first success closes it.
    """

    failures: int = 0
    """Failures since the last success."""
    probing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _failed: set[Hashable] = field(default_factory=set)
    _backoffs: int = 0
    _until_s: float = 0.0

    @property
    def is_open(self) -> bool:
        """Return whether the group is considered unavailable."""
        return self._backoffs > 0

    def succeed(self) -> None:
        """Record a success."""
        self.failures = self._backoffs = 0
        self._failed.clear()

    def fail(self, request: Hashable, limit: int) -> bool:
        """Record a failure; return whether the group must back off.

        Args:
            request: identifies the request; each is counted once.
            limit: how many distinct failing requests open the breaker.
        """
        self.failures += 1
        self._failed.add(request)
        return len(self._failed) >= (WHILE_OPEN if self.is_open else limit)

    def back_off_ms(self, first_ms: int, max_ms: int) -> int:
        """Return the length of the next pause, which doubles each time up to `max_ms`.

        During a pause, returns its remaining time: requests that were in flight fail together.
        """
        self._failed.clear()
        now_s = time.monotonic()
        if now_s >= self._until_s or not self.is_open:
            delay_ms = min(first_ms * 2 ** min(self._backoffs, 20), max_ms)
            self._backoffs += 1
            self._until_s = now_s + delay_ms / 1000
        return max(1, int((self._until_s - now_s) * 1000))
