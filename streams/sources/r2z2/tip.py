"""Where the files end for now: has the feed gone on without the number that the walk waits for?

A 404 may mean "not yet" or "never". No number is asked for twice within the upstream's 6 s, but
others may be: while the walk waits, it asks for numbers further on. A file there, and the number
is a hole.
"""

import asyncio
from typing import Final

from streams.sources.r2z2.files import Files

TRAILING: Final = 200
"""How far `sequence.json` may lag; it is written anew every 51 killmails."""
OFFSETS: Final = (*range(1, 9), *range(10, 17, 2), *range(20, 33, 4), *range(40, 65, 8), 128, 200)
"""How far ahead numbers are asked for, one after the other: holes come in runs."""
ASK_SEQUENCE_EVERY: Final = 10
"""404s in a row at the tip, after which `sequence.json` is asked again."""
LOW_ANSWERS: Final = 3
"""So often at least `sequence.json` must be low before the feed may have started anew."""


class Tip:
    """What was asked for beyond the newest known number."""

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
        """Begin anew: the walk has read a file."""
        self._tries = self._asked_ahead = self._low_answers = 0
        self._absent_at_s.clear()

    def absent(self, number: int) -> None:
        """Remember that a number has just been absent."""
        self._absent_at_s[number] = asyncio.get_running_loop().time()

    def just_absent(self, number: int) -> bool:
        """Return whether a number was absent so shortly ago that it may not be asked for again."""
        at_s = self._absent_at_s.get(number)
        return at_s is not None and asyncio.get_running_loop().time() < at_s + self._not_yet_s

    async def went_on(self, number: int) -> bool:
        """Ask for a few numbers further on; return whether one of them is there.

        One number and two in turn: with the number itself, five requests in two rounds.
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
        """Whether `sequence.json` is worth a request now."""
        return self._tries > 0 and self._tries % ASK_SEQUENCE_EVERY == 0

    def hear(self, sequence: int | None, cursor: int) -> bool:
        """Take in the number of `sequence.json`; return whether the feed may have started anew.

        An old or low number, as an edge of the CDN may give for minutes, is passed over.
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
