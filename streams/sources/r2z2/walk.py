"""The walk: requests number after number until each is resolved.

A 404 below the newest known number is a hole: skipped at once, and recorded, as its file may be
late. A 404 at the tip means "not yet": the same number is requested again after a delay.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Final

import structlog

from streams.sources.decode import Found, Garbage, Nothing
from streams.sources.r2z2.expired import PROBES, oldest_number
from streams.sources.r2z2.files import File, Files
from streams.sources.r2z2.reread import refuse
from streams.sources.r2z2.tip import TRAILING, Tip
from streams.sources.step import Gap, Pending, Step
from streams.sources.waits import Waits

ASK_SEQUENCE_EVERY: Final = 25
"""Files read past the newest known number before `sequence.json` is requested again."""
EXPIRED_AFTER: Final = 25
"""Holes in a row that count as expired files, when the last file read is old enough."""

log: Final = structlog.get_logger()


class Walk:
    """One walk along the feed; used by one task."""

    def __init__(self, name: str, files: Files, waits: Waits) -> None:
        self._name = name
        self._files = files
        self._waits = waits
        self._tip = Tip(files, waits.not_yet_s, waits.reset_s)
        self._cursor = 0
        self._next = 1
        self._requests: deque[asyncio.Task[File]] = deque()
        self._given: list[Step] = []
        self._unconfirmed_holes: list[Step] = []
        """Holes that may turn out to be expired files."""
        self._uploaded_at_s = 0.0
        self._read_past_newest = 0

    async def steps(self, cursor: int | None, updated_at: datetime) -> AsyncGenerator[Step, None]:
        """Walk the feed; see `Source`."""
        self._uploaded_at_s = updated_at.timestamp()
        await self._begin(cursor)
        try:
            while True:
                for step in self._given:
                    yield step
                self._given.clear()
                self._ask()
                file = await self._requests[0]
                self._requests.popleft()
                await self._take(file)
                if self._read_past_newest >= ASK_SEQUENCE_EVERY:
                    await self._ask_sequence()
        finally:
            self._drop_requests()

    async def _begin(self, cursor: int | None) -> None:
        if cursor is not None:
            self._start_at(cursor + 1)
            self._files.newest = max(self._files.newest, cursor)
            await self._ask_sequence()
            return
        while (newest := await self._files.sequence()) is None:
            log.warning("r2z2.tip_unknown", source=self._name, wait_s=self._waits.not_yet_s)
            await asyncio.sleep(self._waits.not_yet_s)
        self._files.newest = newest
        self._start_at(newest)
        self._given.append(Step(self._cursor, skipped="start"))

    def _start_at(self, number: int) -> None:
        self._drop_requests()
        self._cursor = number - 1
        self._next = number

    def _ask(self) -> None:
        """Start requests; beyond the newest known number only one."""
        while len(self._requests) < self._files.in_flight and (
            self._next <= self._files.newest or self._next == self._cursor + 1
        ):
            self._requests.append(asyncio.create_task(self._read(self._next)))
            self._next += 1

    async def _read(self, number: int) -> File:
        return File(number) if self._tip.just_absent(number) else await self._files.read(number)

    def _drop_requests(self) -> None:
        for request in self._requests:
            request.cancel()
        self._requests.clear()

    async def _take(self, file: File) -> None:
        if file.readable:
            await self._present(file)
        elif not file.absent:
            await self._unreadable(file)
        elif file.number <= self._files.newest:
            await self._hole(file.number)
        else:
            await self._not_yet(file.number)

    async def _present(self, file: File) -> None:
        self._advance(file)
        match file.outcome:
            case Found() as found:
                if found.uploaded_at:
                    self._uploaded_at_s = found.uploaded_at
                reference = found.reference(self._name, file.number)
                rewritten = self._rewritten(file.number, found.updated)
                self._given.append(Step(self._cursor, (reference,), pending=rewritten))
                for pending in rewritten:
                    await self._read_rewritten(pending.position)
            case Nothing():
                self._given.append(Step(self._cursor, skipped="placeholder"))
            case Garbage(reason):
                self._refuse(file, reason)

    def _refuse(self, file: File, reason: str) -> None:
        self._given.append(refuse(self._name, file.number, reason, file.value or b"", self._cursor))

    def _advance(self, file: File) -> None:
        """Advance past a number that has a file, which confirms the holes before it."""
        self._given += self._unconfirmed_holes
        self._unconfirmed_holes.clear()
        self._cursor = file.number
        self._tip.moved()
        if file.number > self._files.newest:
            self._files.newest = file.number
            self._read_past_newest += 1

    def _rewritten(self, number: int, updated: int | None) -> tuple[Pending, ...]:
        """Make a pending entry for an older number whose file was rewritten."""
        if updated is None or updated >= number:
            return ()
        return (Pending(updated, self._waits.retry_s[-1]),)

    async def _read_rewritten(self, number: int) -> None:
        file = await self._files.read(number)
        if isinstance(file.outcome, Found):
            reference = file.outcome.reference(self._name, number)
            self._given.append(Step(references=(reference,)))
        else:
            self._given.append(Step(pending=(Pending(number, self._waits.retry_s[0]),)))

    async def _unreadable(self, file: File) -> None:
        """Postpone an unreadable file, but only if the feed has continued past it."""
        self._files.unreadable_in_a_row += 1
        if file.number > self._files.newest or self._files.in_doubt:
            retry_s = self._waits.retry_s
            delay_s = retry_s[min(self._files.unreadable_in_a_row, len(retry_s)) - 1]
            if not await self._went_on(file.number):
                await asyncio.sleep(delay_s)
                self._start_at(file.number)
                return
            self._start_at(file.number + 1)
        self._advance(file)
        pending = Pending(file.number, self._waits.retry_s[0])
        self._given.append(Step(self._cursor, pending=(pending,), skipped="unreadable"))

    async def _not_yet(self, number: int) -> None:
        """Request the number again after a delay; if the feed has continued it is a hole."""
        self._tip.absent(number)
        retry_at_s = asyncio.get_running_loop().time() + self._waits.not_yet_s
        if not await self._went_on(number):
            await asyncio.sleep(retry_at_s - asyncio.get_running_loop().time())
        if self._next == number + 1:  # else the numbering has restarted
            self._start_at(number)

    async def _went_on(self, number: int) -> bool:
        """Return whether the feed has continued: a higher file, or a newer `sequence.json`."""
        at_tip = number > self._files.newest
        if await self._tip.went_on(number):
            return True
        if self._tip.sequence_is_due:
            await self._ask_sequence()
        return at_tip and number <= self._files.newest

    async def _hole(self, number: int) -> None:
        self._cursor = number
        pending = Pending(number, self._waits.late_s[0])
        step = Step(number, pending=(pending,), skipped="hole")
        if time.time() - self._uploaded_at_s <= self._waits.live_s:
            self._given.append(step)
            return
        self._unconfirmed_holes.append(step)
        if len(self._unconfirmed_holes) >= EXPIRED_AFTER:
            await self._jump()

    async def _jump(self) -> None:
        """Continue at the oldest existing file; the positions before it become a gap."""
        first = self._cursor - len(self._unconfirmed_holes) + 1
        self._drop_requests()
        low = self._cursor + 1
        high = max(self._files.newest, low)
        number = await oldest_number(self._files, low, high, self._waits.live_s)
        log.warning("r2z2.expired", source=self._name, first=first, last=number - 1)
        self._unconfirmed_holes.clear()
        self._start_at(number)
        self._uploaded_at_s = time.time()
        gap = Gap(first, number - 1, "expired")
        self._given.append(Step(self._cursor, gaps=(gap,), skipped="expired"))

    async def _ask_sequence(self) -> None:
        """Update the newest known number; one far above it counts only if it has a file."""
        self._read_past_newest = 0
        sequence = await self._files.sequence()
        if await self._is_far_above_all_files(sequence):
            log.warning("r2z2.sequence_ignored", source=self._name, sequence=sequence)
            return
        if self._tip.update(sequence, self._cursor) and sequence is not None:
            await self._restart_numbering(sequence)

    async def _is_far_above_all_files(self, sequence: int | None) -> bool:
        if sequence is None or sequence <= self._files.newest + TRAILING:
            return False
        return not await self._files.any_down_from(sequence, PROBES)

    async def _restart_numbering(self, sequence: int) -> None:
        """Follow a restarted numbering, if the files prove it.

        The file read last is gone, and the one at the low number was uploaded after it.
        """
        if not (await self._files.read(self._cursor)).absent:
            return
        uploaded_at_s = (await self._files.read(sequence)).uploaded_at_s
        if uploaded_at_s is None or uploaded_at_s <= self._uploaded_at_s:
            return
        log.error(
            "r2z2.numbering_restarted", source=self._name, cursor=self._cursor, newest=sequence
        )
        self._given += self._unconfirmed_holes
        self._unconfirmed_holes.clear()
        self._start_at(sequence)
        self._files.newest = sequence
        self._tip.moved()
        self._given.append(Step(self._cursor, reset=True, skipped="reset"))
