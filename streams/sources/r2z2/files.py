"""Request the feed's files, with bounded concurrency."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from streams.sources.decode import Found, Garbage, Outcome, decode_document, decode_sequence
from streams.sources.upstream import Upstream

DOUBTED_AFTER: Final = 3
"""Unreadable files in a row after which the upstream is considered faulty."""


@dataclass(frozen=True, slots=True)
class File:
    """The response for one number; `value` is None when there is no file."""

    number: int
    value: bytes | None = None
    outcome: Outcome | None = None

    @property
    def absent(self) -> bool:
        """Whether there is no such file."""
        return self.value is None

    @property
    def readable(self) -> bool:
        """Whether it is a file of the feed; HTML and truncated files are not."""
        garbage = isinstance(self.outcome, Garbage) and self.outcome.may_pass
        return self.outcome is not None and not garbage

    @property
    def uploaded_at_s(self) -> float | None:
        """Upload time in Unix seconds; None when unknown."""
        return (self.outcome.uploaded_at or None) if isinstance(self.outcome, Found) else None


class Files:
    """The files of one upstream, and its newest known number."""

    def __init__(self, upstream: Upstream, in_flight: int) -> None:
        self.in_flight: Final = in_flight
        self.newest = 0
        self._upstream = upstream
        self._turns = asyncio.Semaphore(in_flight)
        self.unreadable_in_a_row = 0
        """Unreadable files of the walk since the last readable one."""

    @property
    def answered_at(self) -> datetime | None:
        """Time of the last usable response."""
        return self._upstream.answered_at

    @property
    def in_doubt(self) -> bool:
        """Whether the upstream is considered faulty, and not the single file."""
        return self.unreadable_in_a_row >= DOUBTED_AFTER

    async def read(self, number: int) -> File:
        """Request one file; waits until the upstream answers."""
        async with self._turns:
            answer = await self._upstream.get(f"/ephemeral/{number}.json")
        if answer.status != 200:
            return File(number)
        file = File(number, answer.body, decode_document(answer.body))
        if file.readable:
            self.unreadable_in_a_row = 0
        return file

    async def probe(self, number: int) -> File:
        """Request a file ahead of the walk; a readable one updates `newest`."""
        file = await self.read(number)
        if file.readable:
            self.newest = max(self.newest, number)
        return file

    async def any_down_from(self, number: int, count: int) -> bool:
        """Tell whether one of `count` numbers, counted down from this one, has a file."""
        for below in range(number, max(0, number - count), -1):
            if (await self.probe(below)).readable:
                return True
        return False

    async def sequence(self) -> int | None:
        """Request the number in `sequence.json`; None when it is invalid."""
        async with self._turns:
            answer = await self._upstream.get("/ephemeral/sequence.json")
        return (decode_sequence(answer.body) if answer.status == 200 else None) or None
