"""The process-local cache of names, and the ids being resolved."""

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

MAX_KNOWN: Final = 500_000
"""Capacity; beyond it the oldest tenth is evicted."""
DEFERRED_S: Final = 60.0
"""How long an id that was deferred to a message isn't requested otherwise."""


class Known(NamedTuple):
    """A cached name."""

    name: str | None
    """None: ESI has no name for it."""
    ask_at: float
    """Unix seconds from which on it is requested again."""


@dataclass
class NameCache:
    """Belongs to one event loop. A cached id costs one dict lookup."""

    known: dict[int, Known] = field(default_factory=dict)
    in_flight: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    """The task that resolves each id."""
    deferred: dict[int, float] = field(default_factory=dict)
    """Ids deferred to a message, and until when (Unix seconds)."""

    def names(self, ids: Collection[int]) -> dict[int, str]:
        """Return the cached names among these ids, including expired ones."""
        get = self.known.get
        return {i: known.name for i in ids if (known := get(i)) and known.name is not None}

    def due(self, ids: Iterable[int]) -> list[int]:
        """Return the ids that are unknown or expired."""
        now_s, get = time.time(), self.known.get
        return [i for i in ids if (known := get(i)) is None or known.ask_at <= now_s]

    def unknown(self, ids: Iterable[int]) -> list[int]:
        """Return the ids without any cached name, even an expired one."""
        now_s = time.time()
        cached = ((id_, self.known.get(id_)) for id_ in ids)
        return [
            id_
            for id_, known in cached
            if known is None or (known.name is None and known.ask_at <= now_s)
        ]

    def learn(self, known: Mapping[int, Known]) -> None:
        """Add names; evicts the oldest beyond `MAX_KNOWN`."""
        if len(self.known) + len(known) > MAX_KNOWN:
            for id_ in list(islice(self.known, MAX_KNOWN // 10)):
                del self.known[id_]
        self.known.update(known)

    def postpone(self, ids: Iterable[int], for_s: float) -> None:
        """Delay the next request for these names."""
        ask_at = time.time() + for_s
        for id_ in ids:
            if known := self.known.get(id_):
                self.known[id_] = known._replace(ask_at=max(known.ask_at, ask_at))

    def defer(self, ids: Iterable[int], for_s: float = DEFERRED_S) -> list[int]:
        """Mark ids as deferred to a message; return those that weren't."""
        now_s = time.time()
        self.deferred = {id_: until_s for id_, until_s in self.deferred.items() if until_s > now_s}
        ids = list(ids)
        new = [id_ for id_ in ids if id_ not in self.deferred]
        for id_ in ids:
            self.deferred[id_] = max(self.deferred.get(id_, 0.0), now_s + for_s)
        return new

    def askable(self, ids: Iterable[int]) -> list[int]:
        """Return the ids that neither a task nor a message is resolving."""
        now_s = time.time()
        return [
            id_
            for id_ in ids
            if id_ not in self.in_flight and self.deferred.get(id_, now_s) <= now_s
        ]

    async def close(self) -> None:
        """Cancel the requests in flight."""
        tasks = set(self.in_flight.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
