"""So many requests a second, evenly spread."""

import asyncio
from typing import Final

SLACK: Final = 1.1
"""As many as are allowed in one second are spread over this many seconds: requests that follow
one another then stay within the bound in any window of a second, however late each arrives."""

_TOO_SHORT_S: Final = 0.001
"""Shorter sleeps come late by more than they last; the debt is carried to the next turn."""


class Pace:
    """An upper bound on requests, shared by all that ask one upstream."""

    def __init__(self, per_s: float) -> None:
        self._spacing_s = SLACK / per_s
        self._last_s = 0.0
        self._queue = asyncio.Lock()

    async def turn(self) -> None:
        """Wait until one more request may go out."""
        loop = asyncio.get_running_loop()
        async with self._queue:
            due_s = self._last_s + self._spacing_s
            wait_s = due_s - loop.time()
            if wait_s > _TOO_SHORT_S:
                await asyncio.sleep(wait_s)
            self._last_s = max(due_s, loop.time())

    def count(self, more: int) -> None:
        """Count requests that went out without a turn, such as followed redirects."""
        self._last_s += more * self._spacing_s
