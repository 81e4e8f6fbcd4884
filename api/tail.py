"""The tail: the feed as it grows, exactly in order, for any number of readers.

Entries come over the channel, at once but at least once, sometimes out of order, sometimes not at
all. The feed's numbers have no gaps and follow the order of commits. So the tail needs no promise
of the channel: it holds an entry back until all below it are there, and reads what doesn't come
from the feed table.

One ring of recent entries serves every reader. A reader is a position and nothing else: it pulls
from the ring while it keeps up and from the table when it has fallen out of it, so a slow one
costs no memory, loses nothing and slows nobody down.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import takewhile
from typing import Final, NoReturn

import msgspec
import structlog
from broadcaster import Broadcast

from actors.shared.errors import KillstreamError
from actors.shared.feed import CHANNEL, Entry, decode_entry
from actors.shared.metrics import EVENTS_DROPPED, EVENTS_FOREIGN, GAPS_FILLED
from actors.shared.outage import Outage
from api import reads
from api.database import DatabaseUnavailable, ReadDatabase
from api.view import View

RING_ENTRIES: Final = 2_000
RING_BYTES: Final = 16 * 1024 * 1024
"""The ring is full at either of them; bodies count."""
EARLY_ENTRIES: Final = 5_000
"""Entries out of order that are held; beyond, the table has them."""
PAGE: Final = 200
"""Entries that a reader behind the ring takes from the table at once."""
PAGES: Final = 10
"""Pages kept for the next reader: who falls behind does so together with others."""
TURN: Final = 32
"""Entries that a reader may take in a row before the others have a turn."""
QUIET_S: Final = 1.0
"""How often the table is asked whether the channel left something out."""
MAX_PAUSE_S: Final = 30.0
"""The longest pause before a read that failed by our own fault is tried again."""
GAP_S: Final = 0.03
"""How long an entry out of order waits for those below it before the table is asked."""
MAX_BEHIND: Final = 100_000
"""Entries that a reader which once had all may fall behind."""

_log: Final = structlog.get_logger()


class TooSlow(KillstreamError):
    """A reader can't keep up; carries the sequence behind which it may go on."""

    def __init__(self, sequence: int) -> None:
        super().__init__(f"too slow: go on with after: {sequence}")
        self.sequence = sequence


@asynccontextmanager
async def open_tail(
    database: ReadDatabase, events: Broadcast, unpublished_patience_s: float
) -> AsyncIterator["Tail"]:
    """Follow the feed from its end on, for the length of the block.

    Args:
        database: Where the feed table is.
        events: Where the channel is.
        unpublished_patience_s: How long a stored entry may wait to be published with its names;
            then it is passed on with the names that are known.
    """
    last, feed_id = await reads.last_sequence(database), await reads.feed_id(database)
    tail = Tail(database, unpublished_patience_s, last, feed_id)
    tail.start(events)
    try:
        yield tail
    finally:
        await tail.stop()


class Tail:
    """The recent end of the feed: `last` is the highest sequence with nothing missing below."""

    def __init__(
        self, database: ReadDatabase, unpublished_patience_s: float, last: int, feed_id: str
    ) -> None:
        self.last = last
        self._feed_id = feed_id
        self._met_foreign = False
        self._database = database
        self._unpublished_patience_s = unpublished_patience_s
        self._ring: dict[int, View | None] = {}
        """By sequence, without gaps, up to `last`; None where the table has a hole."""
        self._ring_bytes = 0
        self._early: dict[int, View] = {}
        """Came before something below them; none is `last + 1`."""
        self._pages: dict[int, list[View]] = {}
        """The latest pages read, by the sequence behind which they start; all full."""
        self._paging = asyncio.Lock()
        self._outage = Outage("database")
        self._messages = 0
        self._unpublished_sequence = 0
        self._unpublished_since_s = 0.0
        self._look = asyncio.Event()
        """Set when the table should be asked."""
        self._grown = asyncio.Event()
        """Set, and replaced, when `last` has grown."""

    def start(self, events: Broadcast) -> None:
        """Begin to read channel and table, on the side."""
        self._tasks = [
            asyncio.create_task(self._listen(events), name="tail: channel"),
            asyncio.create_task(self._heal(), name="tail: table"),
        ]

    async def stop(self) -> None:
        """End both; who follows waits on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def alive(self) -> bool:
        """Whether it still reads."""
        return not any(task.done() for task in self._tasks)

    def follow(self, after: int | None = None) -> AsyncGenerator[View, None]:
        """Give every entry behind `after` (or from now on), in order, without gap or double.

        Waits for the next one at the end; never ends by itself. Behind a sequence that this
        process hasn't reached yet it waits until it has.

        Raises:
            TooSlow: it had reached the end once and fell more than `MAX_BEHIND` behind since.
        """
        return self._follow(self.last if after is None else after)

    async def _follow(self, position: int) -> AsyncGenerator[View, None]:
        had_all = False
        while True:
            had_all = had_all or position >= self.last
            if position >= self.last:
                await self._grown.wait()
            elif had_all and self.last - position > MAX_BEHIND:
                raise TooSlow(position)
            elif position + 1 in self._ring:
                position += 1
                if view := self._ring[position]:
                    yield view
                if position % TURN == 0:
                    await asyncio.sleep(0)
            else:
                page, position = await self._page(position)
                for view in page:
                    yield view

    async def _page(self, position: int) -> tuple[list[View], int]:
        """Read what follows a position, however long the database is unavailable; and up to where.

        Pages begin at multiples of `PAGE`, so that readers that are behind share them. One reads
        at a time, once; who has to try again lets the others have a turn before.
        """
        while True:
            try:
                async with self._paging:
                    return await self._shared_page(position)
            except DatabaseUnavailable as error:
                self._outage.failed(error)
                await asyncio.sleep(QUIET_S)

    async def _shared_page(self, position: int) -> tuple[list[View], int]:
        start = position - position % PAGE
        upto = min(start + PAGE, self.last)
        page = self._pages.get(start)
        if page is None:
            page = await reads.feed_page(self._database, start, PAGE, upto=upto)
            self._outage.worked()
            if upto == start + PAGE:
                self._pages[start] = page
        if len(self._pages) > PAGES:
            del self._pages[next(iter(self._pages))]
        return [view for view in page if view.entry.sequence > position], upto

    async def _listen(self, events: Broadcast) -> None:
        """Take what the channel brings, for ever."""
        async with events.subscribe(CHANNEL) as subscriber:
            while True:
                message = (await subscriber.get()).message
                if message:
                    self._take(message)
                else:  # the connection was lost: so may be messages
                    self._look.set()

    async def _heal(self) -> NoReturn:
        """Take from the table what the channel left out, for ever."""
        pauses_s = _growing_pauses_s()
        while True:
            if not await self._worth_a_look():
                continue
            try:
                await self._fill()
            except DatabaseUnavailable as error:
                self._outage.failed(error)
                await asyncio.sleep(QUIET_S)
            except Exception:  # our own fault: what comes over the channel goes on meanwhile
                pause_s = next(pauses_s)
                _log.exception("tail.feed_unreadable", retry_in_s=pause_s)
                await asyncio.sleep(pause_s)
            else:
                self._outage.worked()
                pauses_s = _growing_pauses_s()
            if self._early:
                self._look.set()

    def _take(self, message: str) -> None:
        entries = [entry for line in message.split("\n") if (entry := self._own_entry(line))]
        self._messages += bool(entries)
        for entry in entries:
            if entry.sequence > self.last:
                self._early.setdefault(entry.sequence, View(entry))
        self._advance()

    def _own_entry(self, line: str) -> Entry | None:
        """Read an entry; None for what is none, or belongs to another feed."""
        try:
            entry = decode_entry(line)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            _log.error("tail.message_invalid", error=str(error))
            EVENTS_DROPPED.inc()
            return None
        if entry.feed_id == self._feed_id:
            return None if entry.truncated else entry  # the table has the whole
        EVENTS_FOREIGN.inc()
        if not self._met_foreign:
            self._met_foreign = True
            advice = "give each deployment a KILLSTREAM_NAMESPACE"
            _log.warning("tail.entries_foreign", advice=advice)
        return None

    def _advance(self) -> None:
        """Move what has nothing missing below it to the ring, and wake the readers."""
        before = self.last
        while view := self._early.pop(self.last + 1, None):
            self._append(view)
        if len(self._early) > EARLY_ENTRIES or _size(self._early) > RING_BYTES:
            EVENTS_DROPPED.inc(len(self._early))
            self._early.clear()  # the table has them
            self._look.set()
        if self._early:
            self._look.set()
        if self.last > before:
            self._wake()

    def _append(self, view: View | None) -> None:
        """Put the next one, or None for a hole, on the ring."""
        self.last += 1
        self._ring[self.last] = view
        self._ring_bytes += view.size if view else 0
        while len(self._ring) > RING_ENTRIES or self._ring_bytes > RING_BYTES:
            oldest = self._ring.pop(self.last - len(self._ring) + 1)
            self._ring_bytes -= oldest.size if oldest else 0

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()

    async def _worth_a_look(self) -> bool:
        """Wait until the table may know more than the channel brought."""
        messages = self._messages
        try:
            async with asyncio.timeout(QUIET_S):
                await self._look.wait()
        except TimeoutError:
            return messages == self._messages
        self._look.clear()
        await asyncio.sleep(GAP_S)
        return True

    async def _fill(self) -> None:
        """Append from the table, up to what came early, else up to its end."""
        highest = await reads.last_sequence(self._database)
        if highest - self.last > RING_ENTRIES:
            self._jump(highest - RING_ENTRIES)
        while (upto := await self._ready()) > self.last:
            page = await reads.feed_page(self._database, self.last, PAGE, upto=upto)
            found = {view.entry.sequence: view for view in page}
            for sequence in range(self.last + 1, upto + 1):
                view = self._early.pop(sequence, None) or found.get(sequence)
                if view is None:
                    _log.error("tail.sequence_missing", sequence=sequence)
                self._append(view)
                GAPS_FILLED.inc()
            self._wake()
            self._advance()

    async def _ready(self) -> int:
        """Find up to which sequence the table's entries may be taken.

        Published ones may: their message was lost, or is late. The others are on their way and
        get their names just now, so they have a while; that also covers a process that died.
        """
        limit = min(PAGE, min(self._early) - self.last - 1) if self._early else PAGE
        behind = await reads.positions(self._database, self.last, limit)
        published = list(takewhile(lambda row: row.published, behind))
        if published or not behind:
            return published[-1].sequence if published else self.last
        now_s = asyncio.get_running_loop().time()
        first = behind[0].sequence
        if self._unpublished_sequence != first:
            self._unpublished_sequence, self._unpublished_since_s = first, now_s
        patient = now_s - self._unpublished_since_s < self._unpublished_patience_s
        return self.last if patient else first

    def _jump(self, sequence: int) -> None:
        """Go on behind a sequence with an empty ring; readers take the rest from the table."""
        self._ring.clear()
        self._ring_bytes = 0
        self.last = sequence
        self._early = {n: view for n, view in self._early.items() if n > sequence}
        self._wake()
        self._advance()


def _growing_pauses_s() -> Iterator[float]:
    """Give 1 s, doubled up to half a minute."""
    pause_s = QUIET_S
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, MAX_PAUSE_S)


def _size(views: dict[int, View]) -> int:
    return sum(view.size for view in views.values())
