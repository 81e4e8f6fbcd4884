"""A rate limiter with evenly spaced requests."""

import asyncio
from typing import Final

SLACK: Final = 1.1
"""As many as are allowed in one second are spread over this many seconds: requests that follow
one another then stay within the bound in any window of a second, however late each arrives."""

_TOO_SHORT_S: Final = 0.001
"""Shorter sleeps are inaccurate; their time is added to the next turn."""


class Pace:
    """The rate limit of one upstream."""

    def __init__(self, per_s: float) -> None:
        self._spacing_s = SLACK / per_s
        self._last_s = 0.0
        self._queue = asyncio.Lock()

    async def turn(self) -> None:
        """Wait until the next request may be sent."""
        loop = asyncio.get_running_loop()
        async with self._queue:
            due_s = self._last_s + self._spacing_s
            wait_s = due_s - loop.time()
            if wait_s > _TOO_SHORT_S:
                await asyncio.sleep(wait_s)
            self._last_s = max(due_s, loop.time())

    def count(self, more: int) -> None:
        """Count requests that were sent without `turn`, such as followed redirects."""
        self._last_s += more * self._spacing_s
