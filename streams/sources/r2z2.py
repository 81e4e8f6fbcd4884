"""R2Z2: zKillboard's live feed, one numbered file a killmail.

The walk asks for number after number. A 404 behind the newest known number is a hole: passed at
once, looked at again later. A 404 at the tip means "not yet": the same number again, and now and
then a look whether the feed went on without it. Places without a readable answer are pending: the
ledger holds them until they were read again.

Source: zKillboard's API reference and `cron/9.queueSequences.php` (read 2026-11-21).
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Final
from urllib.parse import urlsplit

import structlog

from actors.shared.settings import Settings
from streams.sources.decode import (
    Found,
    Garbage,
    Nothing,
    decode_document,
    decode_sequence,
)
from streams.sources.step import MAX_REJECTED_BYTES, Refused, Step
from streams.sources.upstream import Answer, Judge, Trouble, Upstream, open_upstream
from streams.sources.waits import Waits

SERIAL_UP_TO_PER_S: Final = 15
"""Up to the real upstream's limit one request at a time, as its own clients do."""
IN_FLIGHT: Final = 6
"""Above it, so many at once while there is something to catch up with."""
LOOK_AHEAD_EVERY: Final = 2
"""Consecutive 404s at the tip between two looks whether the feed went on."""
ASK_TIP_EVERY: Final = 25
"""Files read behind the newest known number before `sequence.json` is asked again."""
EXPIRED_AFTER: Final = 25
"""So many holes in a row are no holes: the files are gone."""
TRAILING: Final = 200
"""How far `sequence.json` may lag; it is written anew every 51 killmails."""
DOUBTED_AFTER: Final = 3
"""So many unreadable answers in a row, and the upstream itself is in doubt."""
PROBES: Final = 5
"""Numbers tried around a point before it counts as expired."""

log: Final = structlog.get_logger()


@dataclass(frozen=True, slots=True, order=True)
class Look:
    """One number to be asked for."""

    due_s: float
    number: int
    tries: int = field(default=0, compare=False)
    pending: bool = field(default=False, compare=False)
    """The ledger holds it."""
    walk: bool = field(default=False, compare=False)
    """The next number of the walk; else one behind the cursor."""


def r2z2_name(settings: Settings) -> str:
    """Name the feed, as references and cursors do."""
    return f"r2z2:{urlsplit(settings.r2z2_url).netloc.rpartition('@')[2]}"


@asynccontextmanager
async def open_r2z2(settings: Settings, waits: Waits) -> AsyncIterator["R2z2"]:
    """Open the feed.

    Raises:
        Misconfigured: the upstream is a real one and KILLSTREAM_CONTACT is missing.
    """
    per_s = settings.r2z2_requests_per_s
    in_flight = 1 if per_s <= SERIAL_UP_TO_PER_S else IN_FLIGHT
    judge = _judge(waits)
    async with open_upstream(settings, settings.r2z2_url, per_s, waits, judge) as upstream:
        yield R2z2(r2z2_name(settings), upstream, waits, in_flight)


class R2z2:
    """The feed, open; walked by one task."""

    gives_once = False

    def __init__(self, name: str, upstream: Upstream, waits: Waits, in_flight: int) -> None:
        self.name = name
        self._upstream = upstream
        self._waits = waits
        self._in_flight = in_flight
        self._cursor = 0
        self._next = 1
        self._next_at_s = 0.0
        self._newest = 0
        self._read_past_newest = 0
        self._absences = 0
        self._holes = 0
        self._unreadable_in_a_row = 0
        self._walked_last = False
        self._later: list[Look] = []
        self._asked: deque[tuple[Look, asyncio.Task[bytes | None]]] = deque()
        self._recalled: set[int] = set()
        self._all_recalled = asyncio.Event()
        self._woken = asyncio.Event()

    async def steps(self, cursor: int | None) -> AsyncGenerator[Step, None]:
        """Walk the feed; see `Source`."""
        await self._begin(cursor)
        if cursor is None:
            yield Step(self._cursor, passed="start")
        try:
            while True:
                self._ask()
                if not self._asked:
                    await self._rest()
                    continue
                look, answer = self._asked[0]
                value = await answer
                self._asked.popleft()
                if value is None:
                    step = await self._absent(look)
                else:
                    step = await self._present(look, value)
                self._mark_recalled(look.number)
                if step is not None:
                    yield step
                if self._read_past_newest >= ASK_TIP_EVERY:
                    await self._ask_tip()
        finally:
            for _, answer in self._asked:
                answer.cancel()

    async def recall(self, positions: Iterable[int]) -> None:
        """Have places read again; see `Source`."""
        wanted = set(positions)
        self._recalled |= wanted
        for number in wanted:
            heappush(self._later, Look(0.0, number, pending=True))
        self._woken.set()
        while not self._recalled.isdisjoint(wanted):
            self._all_recalled.clear()
            await self._all_recalled.wait()

    def _mark_recalled(self, number: int) -> None:
        if number in self._recalled:
            self._recalled.discard(number)
            self._all_recalled.set()

    async def _begin(self, cursor: int | None) -> None:
        newest = await self._sequence()
        while newest is None and cursor is None:
            log.warning("r2z2.no_tip", source=self.name, wait_s=self._waits.not_yet_s)
            await asyncio.sleep(self._waits.not_yet_s)
            newest = await self._sequence()
        if newest is None:
            newest = cursor or 0
        if cursor is None:
            self._start_at(newest)
        else:
            self._start_at(cursor + 1)
            self._reset_if_ahead(newest)
        self._newest = max(newest, self._cursor)

    def _start_at(self, number: int) -> None:
        self._cursor = number - 1
        self._next = number
        self._absences = self._holes = 0

    def _reset_if_ahead(self, newest: int) -> bool:
        """Start from the tip when the cursor can't belong to this feed."""
        if self._cursor <= newest + TRAILING:
            return False
        log.error("r2z2.cursor_ahead", source=self.name, cursor=self._cursor, newest=newest)
        self._start_at(newest)
        self._newest = newest
        return True

    def _ask(self) -> None:
        """Put requests on their way, as many as may be."""
        while len(self._asked) < self._in_flight:
            look = self._next_look()
            if look is None:
                return
            request = asyncio.create_task(self._file(look.number))
            self._asked.append((look, request))

    def _next_look(self) -> Look | None:
        """Choose what to ask for: the walk and the places behind it in turn."""
        now_s = asyncio.get_running_loop().time()
        # Beyond the newest known number only one at a time: asking early would be "not yet".
        known = self._next <= self._newest or self._next == self._cursor + 1
        may_walk = known and now_s >= self._next_at_s
        due = bool(self._later) and self._later[0].due_s <= now_s
        self._walked_last = may_walk and not (due and self._walked_last)
        if self._walked_last:
            self._next += 1
            return Look(now_s, self._next - 1, walk=True)
        return heappop(self._later) if due else None

    async def _rest(self) -> None:
        until_s = min([self._next_at_s, *(look.due_s for look in self._later[:1])])
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until_s):
                await self._woken.wait()
        self._woken.clear()

    async def _present(self, look: Look, value: bytes) -> Step | None:
        number = look.number
        outcome = decode_document(value)
        if isinstance(outcome, Garbage) and outcome.may_pass:
            return await self._unreadable(look, outcome, value)
        self._unreadable_in_a_row = 0
        self._advance(look)
        match outcome:
            case Found():
                reference = outcome.reference(self.name, number)
                pending = self._rewritten(number, outcome.updated)
                return Step(self._cursor, references=(reference,), pending=pending)
            case Nothing():
                acked = (number,) if look.pending else ()
                return Step(self._cursor, acked=acked, passed="placeholder")
            case Garbage(reason):
                return self._refuse(number, reason, value)

    async def _unreadable(self, look: Look, garbage: Garbage, value: bytes) -> Step | None:
        """Owe the place and go on, but only while the feed is known to go on behind it."""
        if look.walk:
            self._unreadable_in_a_row += 1
            if look.number > self._newest or self._unreadable_in_a_row >= DOUBTED_AFTER:
                delays_s = self._waits.again_s
                tries = min(self._unreadable_in_a_row, len(delays_s))
                self._walk_again_from(look.number, delays_s[tries - 1])
                if not await self._look_ahead(look.number):
                    return None
                self._next = look.number + 1
            self._advance(look)
        return self._defer(look) or self._refuse(look.number, garbage.reason, value)

    def _refuse(self, number: int, reason: str, value: bytes) -> Step:
        refused = Refused(self.name, number, reason, value[:MAX_REJECTED_BYTES])
        return Step(self._cursor, refused=(refused,))

    def _walk_again_from(self, number: int, delay_s: float) -> None:
        self._drop_walk()
        self._next = number
        self._next_at_s = asyncio.get_running_loop().time() + delay_s

    def _rewritten(self, number: int, updated: int | None) -> tuple[int, ...]:
        """Have an older file read again that was rewritten since."""
        if updated is None or updated >= number:
            return ()
        heappush(self._later, Look(0.0, updated, pending=True))
        return (updated,)

    def _advance(self, look: Look) -> None:
        if not look.walk:
            return
        self._cursor = look.number
        self._absences = self._holes = 0
        if look.number > self._newest:
            self._newest = look.number
            self._read_past_newest += 1

    def _defer(self, look: Look) -> Step | None:
        """Owe a place, to be read again later; None when it had its chances."""
        if look.tries >= len(self._waits.again_s):
            return None
        # While nothing is readable a try says nothing about the place.
        tries = look.tries + (self._unreadable_in_a_row < DOUBTED_AFTER)
        self._look_later(look.number, self._waits.again_s[look.tries], tries, pending=True)
        return Step(self._cursor, pending=() if look.pending else (look.number,), passed="put off")

    def _look_later(self, number: int, delay_s: float, tries: int, *, pending: bool) -> None:
        due_s = asyncio.get_running_loop().time() + delay_s
        heappush(self._later, Look(due_s, number, tries, pending=pending))

    async def _absent(self, look: Look) -> Step | None:
        number = look.number
        if look.walk:
            return await (self._not_yet if number > self._newest else self._hole)(look)
        if look.pending:
            return self._defer(look) or self._given_up(number)
        if look.tries < len(self._waits.late_s):
            self._look_later(number, self._waits.late_s[look.tries], look.tries + 1, pending=False)
        return None

    def _given_up(self, number: int) -> Step:
        log.warning("r2z2.gone", source=self.name, position=number)
        return Step(self._cursor, acked=(number,), passed="gone")

    async def _hole(self, look: Look) -> Step:
        self._cursor = look.number
        self._holes += 1
        if self._holes >= EXPIRED_AFTER:
            await self._jump()
            return Step(self._cursor, passed="expired")
        self._look_later(look.number, self._waits.late_s[0], 1, pending=False)
        log.debug("r2z2.hole", source=self.name, position=look.number)
        return Step(self._cursor, passed="hole")

    async def _not_yet(self, look: Look) -> None:
        self._walk_again_from(look.number, self._waits.not_yet_s)
        self._absences += 1
        if self._absences % LOOK_AHEAD_EVERY == 0:
            await self._look_ahead(look.number)

    async def _look_ahead(self, number: int) -> bool:
        """See whether the feed went on without the number that the walk waits for."""
        newest = await self._ask_tip()
        if newest is not None and self._reset_if_ahead(newest):
            return False
        if newest is not None and newest >= number:
            return True
        # The next number, and one further off with each look: holes come in runs.
        further = 1 + self._absences // LOOK_AHEAD_EVERY % TRAILING
        for ahead in sorted({number + 1, number + further}):
            if await self._readable(ahead):
                self._newest = max(self._newest, ahead)
                return True
        return False

    async def _jump(self) -> None:
        """Go on at the oldest file that is still there."""
        self._drop_walk()
        first_missing = self._cursor - self._holes + 1
        low, high = self._cursor + 1, max(self._newest, self._cursor + 1)
        while low < high:
            middle = (low + high) // 2
            if await self._any_file(middle):
                high = middle
            else:
                low = middle + 1
        log.warning("r2z2.expired", source=self.name, first=first_missing, last=low - 1)
        self._later = [look for look in self._later if look.pending or look.number < first_missing]
        heapify(self._later)
        self._start_at(low)

    def _drop_walk(self) -> None:
        for look, request in self._asked:
            if look.walk:
                request.cancel()
        self._asked = deque(asked for asked in self._asked if not asked[0].walk)

    async def _any_file(self, number: int) -> bool:
        for offset in range(PROBES):
            if await self._readable(number + offset):
                return True
        return False

    async def _readable(self, number: int) -> bool:
        value = await self._file(number)
        if value is None:
            return False
        outcome = decode_document(value)
        return not (isinstance(outcome, Garbage) and outcome.may_pass)

    async def _ask_tip(self) -> int | None:
        self._read_past_newest = 0
        newest = await self._sequence()
        self._newest = max(self._newest, newest or 0)
        return newest

    async def _sequence(self) -> int | None:
        answer = await self._upstream.get("/ephemeral/sequence.json")
        return decode_sequence(answer.body) if answer.status == 200 else None

    async def _file(self, number: int) -> bytes | None:
        answer = await self._upstream.get(f"/ephemeral/{number}.json")
        return answer.body if answer.status == 200 else None


def _judge(waits: Waits) -> Judge:
    def judge(answer: Answer) -> Trouble | None:
        if answer.status in (200, 404):
            return None
        if answer.status in (403, 429):
            return Trouble(f"ban ({answer.status})", waits.ban_s, waits.ban_most_s)
        return Trouble(f"status {answer.status}", waits.outage_s, waits.outage_most_s)

    return judge
