"""Detect whether the feed has continued past the absent number that the walk waits for.

A 404 may mean "not yet" or "never". A number may not be requested twice within the upstream's 6 s,
but others may: while the walk waits, it requests higher numbers. If one of them exists, the absent
number is a hole.
"""

import asyncio
from typing import Final

from streams.sources.r2z2.files import Files

TRAILING: Final = 200
"""How far `sequence.json` may lag; it is rewritten every 51 killmails."""
OFFSETS: Final = (*range(1, 9), *range(10, 17, 2), *range(20, 33, 4), *range(40, 65, 8), 128, 200)
"""Offsets of the numbers requested ahead, in this order: holes occur in runs."""
ASK_SEQUENCE_EVERY: Final = 10
"""404s in a row at the tip, after which `sequence.json` is requested again."""
LOW_ANSWERS: Final = 3
"""Low responses of `sequence.json` before the numbering may have restarted."""


class Tip:
    """The state of the requests beyond the newest known number."""

    def __init__(self, files: Files, not_yet_s: float, reset_s: float) -> None:
        self._files = files
        self._not_yet_s = not_yet_s
        self._reset_s = reset_s
        self._tries = 0
        self._asked_ahead = 0
        self._absent_at_s: dict[int, float] = {}
        self._low_answers = 0
        self._low_since_s = 0.0

    def moved(self) -> None:
        """Reset: the walk has read a file."""
        self._tries = self._asked_ahead = self._low_answers = 0
        self._absent_at_s.clear()

    def absent(self, number: int) -> None:
        """Record that a number is absent now."""
        self._absent_at_s[number] = asyncio.get_running_loop().time()

    def just_absent(self, number: int) -> bool:
        """Return whether a number was absent too recently to be requested again."""
        at_s = self._absent_at_s.get(number)
        return at_s is not None and asyncio.get_running_loop().time() < at_s + self._not_yet_s

    async def went_on(self, number: int) -> bool:
        """Request one or two higher numbers; return whether one of them exists.

        Alternates between one and two: with the number itself, five requests in two rounds.
        """
        self._tries += 1
        if self._tries % ASK_SEQUENCE_EVERY == 0:
            return False
        count = 1 + (self._tries % 2 == 0)
        offsets = [OFFSETS[(self._asked_ahead + i) % len(OFFSETS)] for i in range(count)]
        self._asked_ahead += count
        for offset in offsets:
            ahead = number + offset
            if number < self._files.newest:
                ahead = min(ahead, self._files.newest)
            if self.just_absent(ahead):
                continue
            file = await self._files.probe(ahead)
            if file.readable:
                return True
            if file.absent:
                self.absent(ahead)
        return False

    @property
    def sequence_is_due(self) -> bool:
        """Whether `sequence.json` is to be requested now."""
        return self._tries > 0 and self._tries % ASK_SEQUENCE_EVERY == 0

    def update(self, sequence: int | None, cursor: int) -> bool:
        """Process the number in `sequence.json`; return whether the numbering may have restarted.

        A stale number, as an edge of the CDN may return for minutes, is ignored.
        """
        if sequence is None:
            return False
        if sequence + TRAILING >= cursor:
            self._files.newest = max(self._files.newest, sequence)
            self._low_answers = 0
            return False
        now_s = asyncio.get_running_loop().time()
        if not self._low_answers:
            self._low_since_s = now_s
        self._low_answers += 1
        return self._low_answers >= LOW_ANSWERS and now_s >= self._low_since_s + self._reset_s
