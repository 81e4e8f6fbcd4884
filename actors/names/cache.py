"""The names that one process has met, and what it is asking for now."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

MAX_KNOWN: Final = 500_000
"""Names held; beyond, those held longest are forgotten, a tenth at a time."""
UNKNOWN_S: Final = 3600.0
"""So often ids without a name are forgotten: the table knows when to ask for them again."""
DEFERRED_S: Final = 60.0
"""How long an id that a message will resolve isn't asked for in any other way."""


@dataclass
class NameCache:
    """Belongs to one event loop. Plain dicts: an id that is known costs one look-up."""

    known: dict[int, str | None] = field(default_factory=dict)
    """None for an id that has no name."""
    in_flight: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    """Which task will know."""
    deferred: dict[int, float] = field(default_factory=dict)
    """Ids left to a message, and until when (monotonic seconds)."""
    forget_unknown_at_s: float = field(default_factory=lambda: time.monotonic() + UNKNOWN_S)

    def learn(self, names: Mapping[int, str | None]) -> None:
        """Take names in, and forget what is too much or too old."""
        if time.monotonic() > self.forget_unknown_at_s:
            self.forget_unknown_at_s = time.monotonic() + UNKNOWN_S
            self._forget([id_ for id_, name in self.known.items() if name is None])
        if len(self.known) + len(names) > MAX_KNOWN:
            self._forget(list(islice(self.known, MAX_KNOWN // 10)))
        self.known.update(names)

    def defer(self, ids: Iterable[int]) -> list[int]:
        """Mark ids as left to a message; give those that weren't."""
        now_s = time.monotonic()
        self.deferred = {id_: until_s for id_, until_s in self.deferred.items() if until_s > now_s}
        new = [id_ for id_ in ids if id_ not in self.deferred]
        self.deferred.update(dict.fromkeys(new, now_s + DEFERRED_S))
        return new

    async def close(self) -> None:
        """End what is being asked; the messages that were deferred do the rest."""
        tasks = set(self.in_flight.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, ids: Iterable[int]) -> None:
        for id_ in ids:
            del self.known[id_]
