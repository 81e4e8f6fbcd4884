"""How much each client may ask for: a budget that fills up again steadily."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from time import monotonic
from typing import Final

MAX_CLIENTS: Final = 100_000
"""Clients whose use is remembered; the ones that were seen last."""
WINDOW_S: Final = 60


@dataclass(frozen=True)
class Level:
    """A client's budget at one time."""

    limit: int
    remaining: int
    full_in_s: int
    """After how many seconds all of it is there again."""
    retry_after_s: int | None = None
    """When a refused operation may be tried again; None if it wasn't refused."""


class Budget:
    """Counts what clients used, in this process; use is forgotten evenly, within `WINDOW_S`."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = monotonic) -> None:
        self._limit = per_minute
        self._rate = per_minute / WINDOW_S
        self._clock = clock
        self._used: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """What each client used, and when that was true."""

    def charge(self, client: str, cost: int) -> Level:
        """Count a cost, unless it exceeds what remains; then the level says when to retry.

        A cost above the whole budget takes all of it.
        """
        used = self._used_now(client)
        cost = min(cost, self._limit)
        if (excess := used + cost - self._limit) > 0:
            return self._level(used, max(1, ceil(excess / self._rate)))
        self.record(client, cost)
        return self._level(used + cost)

    def record(self, client: str, cost: int) -> None:
        """Count what an operation has cost, whatever remains; nothing if it is negative."""
        if cost <= 0:
            return
        self._used[client] = self._used_now(client) + cost, self._clock()
        self._used.move_to_end(client)
        if len(self._used) > MAX_CLIENTS:
            self._used.popitem(last=False)

    def level(self, client: str) -> Level:
        """Return a client's budget without counting anything."""
        return self._level(self._used_now(client))

    def _used_now(self, client: str) -> float:
        used, at = self._used.get(client, (0.0, 0.0))
        return max(0.0, used - (self._clock() - at) * self._rate)

    def _level(self, used: float, retry_after_s: int | None = None) -> Level:
        remaining = max(0, int(self._limit - used))
        return Level(self._limit, remaining, ceil(used / self._rate), retry_after_s)
