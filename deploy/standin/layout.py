"""Assign killmails, holes, placeholders, repeats and rewrites to sequence numbers."""

from collections.abc import Iterator
from itertools import chain, islice
from random import Random
from typing import Final, Literal

import msgspec

from deploy.standin.faults import Faults

LOOKBACK: Final = 200
"""How many numbers back the target of a repeat or rewrite may be."""


class Slot(msgspec.Struct, frozen=True, gc=False):
    """One sequence number of the dataset.

    `index` is the killmail's index in the dataset (-1 if there is none); `duplicate` marks a
    repeat; `updates` is the position of an older slot whose file this one rewrites.
    """

    kind: Literal["killmail", "hole", "null"]
    index: int = -1
    duplicate: bool = False
    updates: int | None = None


_HOLE: Final = Slot("hole")
_NULL: Final = Slot("null")


class Layout:
    """Assigns the killmails of the dataset to sequence numbers, as far as needed.

    The same seed, faults and count give the same layout. With any faults each killmail gets exactly
    one slot that isn't a repeat.
    """

    def __init__(self, count: int, seed: int, faults: Faults, first_sequence: int = 0) -> None:
        self.slots: list[Slot] = []
        self._faults = faults
        self._first_sequence = first_sequence
        self._random = Random(seed)
        self._rest: Iterator[int] = iter(range(count))
        self._window: list[int] = []

    @property
    def done(self) -> bool:
        """Whether every killmail has a slot."""
        self._fill()
        return not self._window

    def extend(self, until: int) -> None:
        """Assign until there are `until` slots, or no killmail is left."""
        while len(self.slots) < until and not self.done:
            self.slots.append(self._next())

    def extend_to_end(self) -> None:
        """Assign until no killmail is left."""
        while not self.done:
            self.slots.append(self._next())

    def relayout(self, unchanged: int, faults: Faults) -> None:
        """Remove all slots after the first `unchanged`, to assign them again with other faults."""
        assigned = {slot.index for slot in self.slots[:unchanged]}
        removed = {slot.index for slot in self.slots[unchanged:] if slot.kind == "killmail"}
        self._rest = chain(sorted((removed - assigned).union(self._window)), self._rest)
        self._window = []
        self._faults = faults
        del self.slots[unchanged:]

    def _next(self) -> Slot:
        faults = self._faults
        sequence = self._first_sequence + len(self.slots)
        if any(run.late_s is None and run.contains(sequence) for run in faults.absent):
            return _HOLE
        roll = self._random.random() - faults.hole_rate
        if roll < 0:
            return _HOLE
        roll -= faults.null_rate
        if roll < 0:
            return _NULL
        earlier = self._earlier() if roll < faults.duplicate_rate else None
        if earlier is not None:
            return Slot("killmail", self.slots[earlier].index, duplicate=True)
        index = self._window.pop(self._random.randrange(len(self._window)))
        rewrites = faults.rewrite_rate and self._random.random() < faults.rewrite_rate
        return Slot("killmail", index, updates=self._earlier() if rewrites else None)

    def _earlier(self) -> int | None:
        newest = len(self.slots)
        positions = range(max(0, newest - LOOKBACK), newest)
        candidates = [p for p in positions if self.slots[p].kind == "killmail"]
        return self._random.choice(candidates) if candidates else None

    def _fill(self) -> None:
        missing = max(1, self._faults.shuffle) - len(self._window)
        if missing > 0:
            self._window.extend(islice(self._rest, missing))
