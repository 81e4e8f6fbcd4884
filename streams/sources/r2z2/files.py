"""Asking for the feed's files, so many at once."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from streams.sources.decode import Found, Garbage, Outcome, decode_document, decode_sequence
from streams.sources.upstream import Upstream

DOUBTED_AFTER: Final = 3
"""So many unreadable files in a row, and the upstream itself is in doubt."""


@dataclass(frozen=True, slots=True)
class File:
    """What one number gave; without a value there is no file."""

    number: int
    value: bytes | None = None
    outcome: Outcome | None = None

    @property
    def absent(self) -> bool:
        """Whether there is no such file."""
        return self.value is None

    @property
    def readable(self) -> bool:
        """Whether it is a file of the feed; HTML and half a file are not."""
        garbage = isinstance(self.outcome, Garbage) and self.outcome.may_pass
        return self.outcome is not None and not garbage

    @property
    def uploaded_at_s(self) -> float | None:
        """When it was uploaded, where it says so. Unix time."""
        return (self.outcome.uploaded_at or None) if isinstance(self.outcome, Found) else None


class Files:
    """The files of one upstream, and the newest number that is known to exist."""

    def __init__(self, upstream: Upstream, in_flight: int) -> None:
        self.in_flight: Final = in_flight
        self.newest = 0
        self._upstream = upstream
        self._turns = asyncio.Semaphore(in_flight)
        self.unreadable_in_a_row = 0
        """How many files the walk has met that nobody could read, since one that was readable."""

    @property
    def answered_at(self) -> datetime | None:
        """When the upstream gave the last answer of use."""
        return self._upstream.answered_at

    @property
    def in_doubt(self) -> bool:
        """Whether nothing is readable now, so that an unreadable file says nothing of itself."""
        return self.unreadable_in_a_row >= DOUBTED_AFTER

    async def read(self, number: int) -> File:
        """Ask for one file; waits until the upstream answers."""
        async with self._turns:
            answer = await self._upstream.get(f"/ephemeral/{number}.json")
        if answer.status != 200:
            return File(number)
        file = File(number, answer.body, decode_document(answer.body))
        if file.readable:
            self.unreadable_in_a_row = 0
        return file

    async def probe(self, number: int) -> File:
        """Ask for a file out of turn; if it is readable the feed goes at least so far."""
        file = await self.read(number)
        if file.readable:
            self.newest = max(self.newest, number)
        return file

    async def sequence(self) -> int | None:
        """Ask for the number in `sequence.json`; None when it says nothing of use."""
        async with self._turns:
            answer = await self._upstream.get("/ephemeral/sequence.json")
        return (decode_sequence(answer.body) if answer.status == 200 else None) or None
