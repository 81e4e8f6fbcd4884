"""The tail: the newest entries of the feed, in order, for any number of readers.

The Redis channel delivers entries soon after their commit, but may duplicate, reorder or lose them.
The feed's sequences have no gaps and follow the order of commits. Therefore the tail appends an
entry only when all entries before it are appended, and reads missing ones from the feed table.

All readers share one ring buffer of recent entries. A reader's only state is its position. It reads
from the ring, or from the feed table when its position is older than the ring. A slow reader takes
no memory, loses no entry and doesn't delay other readers.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, nullcontext
from itertools import takewhile
from typing import Final, NoReturn

import msgspec
import structlog
from broadcaster import Broadcast

from actors.shared.errors import KillstreamError
from actors.shared.feed import CHANNEL, FeedEntry, decode_entry
from actors.shared.metrics import EVENTS_DROPPED, EVENTS_FOREIGN, GAPS_FILLED
from actors.shared.outage import Outage
from api import reads
from api.database import DatabaseUnavailable, ReadDatabase
from api.view import FeedView, view_of

RING_ENTRIES: Final = 2_000
RING_BYTES: Final = 16 * 1024 * 1024
"""Limits of the ring, in entries and in bytes of their bodies."""
MAX_OUT_OF_ORDER: Final = 5_000
"""Entries out of order that are held in memory; if there are more, all are read from the table."""
PAGE_ENTRIES: Final = 200
"""Entries that a reader behind the ring reads from the table in one query."""
CACHED_PAGES: Final = 10
"""Pages cached for other readers, as readers usually fall behind together."""
YIELD_EVERY: Final = 32
"""Entries that a reader takes from the ring before others have a turn."""
TABLE_POLL_S: Final = 1.0
"""Interval at which the table is checked for missing entries while the channel is silent."""
MAX_PAUSE_S: Final = 30.0
"""Longest pause between retries after an unexpected error."""
OUT_OF_ORDER_WAIT_S: Final = 0.03
"""How long an entry out of order waits for those before it until the table is read."""
MAX_BEHIND: Final = 100_000
"""Entries that a reader may fall behind after it was live."""

_log: Final = structlog.get_logger()


class TooSlow(KillstreamError):
    """A reader is too far behind; `sequence` is the one after which it can resume."""

    def __init__(self, sequence: int) -> None:
        super().__init__(f"too slow: resume with after: {sequence}")
        self.sequence = sequence


@asynccontextmanager
async def open_tail(
    database: ReadDatabase, events: Broadcast, unpublished_timeout_s: float
) -> AsyncIterator["Tail"]:
    """Follow the feed from its current end until the block ends.

    Args:
        database: The database with the feed table.
        events: The Redis channel, or its replacement in this process.
        unpublished_timeout_s: How long a committed entry may stay unpublished; then it is
            delivered from the table with the names known by then.
    """
    last, feed_id = await reads.last_sequence(database), await reads.feed_id(database)
    tail = Tail(database, unpublished_timeout_s, last, feed_id)
    tail.start(events)
    try:
        yield tail
    finally:
        await tail.stop()


class Tail:
    """The newest entries; all entries up to the sequence `last` are appended."""

    def __init__(
        self, database: ReadDatabase, unpublished_timeout_s: float, last: int, feed_id: str
    ) -> None:
        self.last = last
        self.feed_id = feed_id
        self._foreign_logged = False
        self._database = database
        self._unpublished_timeout_s = unpublished_timeout_s
        self._ring: dict[int, FeedView | None] = {}
        """Views by sequence, without gaps, up to `last`; None for an unreadable entry."""
        self._ring_bytes = 0
        self._out_of_order: dict[int, FeedView] = {}
        """Received entries that wait for one before them; never contains `last + 1`."""
        self._pages: dict[int, list[FeedView]] = {}
        """The latest full pages, by the sequence after which they start."""
        self._paging = asyncio.Lock()
        self._outage = Outage("database")
        self._messages = 0
        self._unpublished_sequence = 0
        self._unpublished_since_s = 0.0
        self._read_due = asyncio.Event()
        """Set when the table must be read."""
        self._advanced = asyncio.Event()
        """Set, and replaced by a new event, when `last` has increased."""

    def start(self, events: Broadcast) -> None:
        """Start the background tasks that read channel and table."""
        self._tasks = [
            asyncio.create_task(self._listen(events), name="tail: channel"),
            asyncio.create_task(self._fill_gaps(), name="tail: table"),
        ]

    async def stop(self) -> None:
        """Cancel the background tasks; open `follow` generators keep waiting."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def alive(self) -> bool:
        """Whether both background tasks are running."""
        return not any(task.done() for task in self._tasks)

    def follow(
        self, after: int | None = None, turn: asyncio.Lock | None = None
    ) -> AsyncGenerator[FeedView, None]:
        """Yield every entry after a sequence (or from now on), in order, without gap or duplicate.

        Waits for new entries at the end; never ends by itself. If `after` is greater than `last`,
        waits until the tail has reached it. Readers with the same `turn`, as those of one client,
        read the table one after another, so that many of them leave room for others.

        Raises:
            TooSlow: the reader was live and then fell more than `MAX_BEHIND` entries behind.
        """
        return self._follow(self.last if after is None else after, turn)

    async def at(self, sequence: int) -> FeedView | None:
        """Return one entry; None beyond `last`, and for an unreadable one.

        Its names are there only if it is among the newest.

        Raises:
            DatabaseUnavailable: it isn't among the newest, and can't be read.
        """
        if not 0 < sequence <= self.last:
            return None
        if sequence in self._ring:
            return self._ring[sequence]
        page = await reads.feed_page(
            self._database, sequence - 1, 1, up_to=sequence, with_names=False
        )
        return page[0] if page else None

    async def _follow(
        self, position: int, turn: asyncio.Lock | None
    ) -> AsyncGenerator[FeedView, None]:
        async with aclosing(self.follow_in_parts(position, turn)) as parts:
            async for views, _ in parts:
                for view in views:
                    yield view

    async def follow_in_parts(
        self, position: int, turn: asyncio.Lock | None = None
    ) -> AsyncGenerator[tuple[list[FeedView], int], None]:
        """Do what `follow` does; yield some entries, and the position up to which they were read.

        Others have a turn after each part.
        """
        was_live = False
        while True:
            if position >= self.last:
                was_live = True
                await self.wait_beyond(position)
            elif was_live and self.last - position > MAX_BEHIND:
                raise TooSlow(position)
            views, position = await self.read(position, turn)
            yield views, position
            await asyncio.sleep(0)

    async def wait_beyond(self, position: int) -> None:
        """Wait until there is an entry after a position."""
        while self.last <= position:
            await self._advanced.wait()

    def has_next(self, position: int) -> bool:
        """Tell whether the entry after a position can be read without the database."""
        return position + 1 in self._ring

    async def read(
        self, position: int, turn: asyncio.Lock | None = None
    ) -> tuple[list[FeedView], int]:
        """Read the next entries after a position, of which there is at least one.

        Returns them without those that can't be read, and the position up to which they were read.
        Waits while the database is unavailable, if they are no longer in the ring.
        """
        if not self.has_next(position):
            async with turn or nullcontext():
                return await self._page(position)
        up_to = min(position + YIELD_EVERY, self.last)
        some = (self._ring[sequence] for sequence in range(position + 1, up_to + 1))
        return [view for view in some if view], up_to

    async def _page(self, position: int) -> tuple[list[FeedView], int]:
        """Return the entries after a position, and the sequence up to which they were read.

        Retries while the database is unavailable. Pages start at multiples of `PAGE_ENTRIES`, so
        that readers share them. One reader queries at a time; it releases the lock between tries.
        """
        while True:
            try:
                async with self._paging:
                    return await self._shared_page(position)
            except DatabaseUnavailable as error:
                self._outage.failed(error)
                await asyncio.sleep(TABLE_POLL_S)

    async def _shared_page(self, position: int) -> tuple[list[FeedView], int]:
        start = position - position % PAGE_ENTRIES
        up_to = min(start + PAGE_ENTRIES, self.last)
        page = self._pages.get(start)
        if page is None:
            page = await reads.feed_page(self._database, start, PAGE_ENTRIES, up_to=up_to)
            self._outage.worked()
            if up_to == start + PAGE_ENTRIES:
                self._pages[start] = page
        if len(self._pages) > CACHED_PAGES:
            del self._pages[next(iter(self._pages))]
        return [view for view in page if view.entry.sequence > position], up_to

    async def _listen(self, events: Broadcast) -> None:
        """Receive the channel's messages until cancelled."""
        async with events.subscribe(CHANNEL) as subscriber:
            while True:
                message = (await subscriber.get()).message
                if message:
                    self._receive(message)
                else:  # the connection was lost: messages may be missing
                    self._read_due.set()

    async def _fill_gaps(self) -> NoReturn:
        """Append entries that the channel didn't deliver from the table, until cancelled."""
        pauses_s = _retry_pauses_s()
        while True:
            if not await self._wait_until_read_due():
                continue
            try:
                await self._append_from_table()
            except DatabaseUnavailable as error:
                self._outage.failed(error)
                await asyncio.sleep(TABLE_POLL_S)
            except Exception:  # unexpected; the channel's entries are delivered nevertheless
                pause_s = next(pauses_s)
                _log.exception("tail.feed_unreadable", retry_in_s=pause_s)
                await asyncio.sleep(pause_s)
            else:
                self._outage.worked()
                pauses_s = _retry_pauses_s()
            if self._out_of_order:
                self._read_due.set()

    def _receive(self, message: str) -> None:
        entries = [entry for line in message.split("\n") if (entry := self._parse_entry(line))]
        self._messages += bool(entries)
        for entry in entries:
            if entry.sequence > self.last:
                self._out_of_order.setdefault(entry.sequence, view_of(entry, self._database.static))
        self._advance()

    def _parse_entry(self, line: str) -> FeedEntry | None:
        """Decode an entry; None if it is invalid, truncated or another feed's."""
        try:
            entry = decode_entry(line)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            _log.error("tail.message_invalid", error=str(error))
            EVENTS_DROPPED.inc()
            return None
        if entry.feed_id == self.feed_id:
            return None if entry.truncated else entry  # the table has the body
        EVENTS_FOREIGN.inc()
        if not self._foreign_logged:
            self._foreign_logged = True
            advice = "give each deployment a KILLSTREAM_NAMESPACE"
            _log.warning("tail.entries_foreign", advice=advice)
        return None

    def _advance(self) -> None:
        """Append the entries that are next in order, and wake the readers."""
        before = self.last
        while view := self._out_of_order.pop(self.last + 1, None):
            self._append(view)
        if len(self._out_of_order) > MAX_OUT_OF_ORDER or _size(self._out_of_order) > RING_BYTES:
            EVENTS_DROPPED.inc(len(self._out_of_order))
            self._out_of_order.clear()  # the table has them
            self._read_due.set()
        if self._out_of_order:
            self._read_due.set()
        if self.last > before:
            self._wake()

    def _append(self, view: FeedView | None) -> None:
        """Append the next entry, or None for an unreadable one, to the ring."""
        self.last += 1
        self._ring[self.last] = view
        self._ring_bytes += view.size if view else 0
        while len(self._ring) > RING_ENTRIES or self._ring_bytes > RING_BYTES:
            oldest = self._ring.pop(self.last - len(self._ring) + 1)
            self._ring_bytes -= oldest.size if oldest else 0

    def _wake(self) -> None:
        self._advanced.set()
        self._advanced = asyncio.Event()

    async def _wait_until_read_due(self) -> bool:
        """Wait until the table may have missing entries; return whether to read it now."""
        messages = self._messages
        try:
            async with asyncio.timeout(TABLE_POLL_S):
                await self._read_due.wait()
        except TimeoutError:
            return messages == self._messages
        self._read_due.clear()
        await asyncio.sleep(OUT_OF_ORDER_WAIT_S)
        return True

    async def _append_from_table(self) -> None:
        """Append entries from the table, up to the first one out of order, else up to its end."""
        highest = await reads.last_sequence(self._database)
        if highest - self.last > RING_ENTRIES:
            self._skip_to(highest - RING_ENTRIES)
        while (up_to := await self._last_readable()) > self.last:
            page = await reads.feed_page(self._database, self.last, PAGE_ENTRIES, up_to=up_to)
            found = {view.entry.sequence: view for view in page}
            for sequence in range(self.last + 1, up_to + 1):
                view = self._out_of_order.pop(sequence, None) or found.get(sequence)
                if view is None:
                    _log.error("tail.sequence_missing", sequence=sequence)
                self._append(view)
                GAPS_FILLED.inc()
            self._wake()
            self._advance()

    async def _last_readable(self) -> int:
        """Return the sequence up to which entries may be appended from the table.

        A published entry may: its message is lost or late. So may an imported day, whose importer
        may have no way to this process. Another unpublished one may after `unpublished_timeout_s`:
        it is being published with its names, unless the process has died.
        """
        limit = (
            min(PAGE_ENTRIES, min(self._out_of_order) - self.last - 1)
            if self._out_of_order
            else PAGE_ENTRIES
        )
        missing = await reads.positions(self._database, self.last, limit)
        ready = list(takewhile(lambda row: row.ready, missing))
        if ready or not missing:
            return ready[-1].sequence if ready else self.last
        now_s = asyncio.get_running_loop().time()
        first = missing[0].sequence
        if self._unpublished_sequence != first:
            self._unpublished_sequence, self._unpublished_since_s = first, now_s
        waiting = now_s - self._unpublished_since_s < self._unpublished_timeout_s
        return self.last if waiting else first

    def _skip_to(self, sequence: int) -> None:
        """Set `last` and clear the ring; readers read the skipped entries from the table."""
        self._ring.clear()
        self._ring_bytes = 0
        self.last = sequence
        self._out_of_order = {n: view for n, view in self._out_of_order.items() if n > sequence}
        self._wake()
        self._advance()


def _retry_pauses_s() -> Iterator[float]:
    """Yield pauses that double from `TABLE_POLL_S` to `MAX_PAUSE_S`."""
    pause_s = TABLE_POLL_S
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, MAX_PAUSE_S)


def _size(views: dict[int, FeedView]) -> int:
    return sum(view.size for view in views.values())
