"""How often one client may ask."""

import asyncio
from typing import Final

from actors.shared.errors import KillstreamError
from api.doors.metrics import REFUSED

MAX_CLIENTS: Final = 10_000
"""Clients that are remembered; beyond it those that wait for nothing are forgotten."""


class TooOften(KillstreamError):
    """A client asks more often than it may."""


class Rate:
    """Allows requests at a pace, and a second's worth of them at once, but always one.

    Source: the generic cell rate algorithm (ITU-T I.371).
    """

    def __init__(self, door: str, per_s: float) -> None:
        self._door = door
        self._per_s = per_s
        self._due_s: dict[str, float] = {}
        """When each client has used up nothing, by the loop's clock."""

    def count(self, client: str) -> None:
        """Count a request.

        Raises:
            TooOften: the client must wait.
        """
        now_s = asyncio.get_running_loop().time()
        due_s = max(self._due_s.get(client, 0.0), now_s) + 1 / self._per_s
        if due_s > now_s + max(1.0, 1 / self._per_s) + 1e-9:
            REFUSED.labels(self._door).inc()
            raise TooOften(f"{self._per_s:g} requests per second are allowed")
        self._due_s[client] = due_s
        if len(self._due_s) > MAX_CLIENTS:
            self._due_s = {c: due_s for c, due_s in self._due_s.items() if due_s > now_s}
