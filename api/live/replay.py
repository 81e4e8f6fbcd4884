"""Replays: read the feed for streams whose group doesn't have what they lack.

All of them are served in rounds, from the lowest sequence upwards. Whoever a round comes upon goes
along with it, so that many clients that resume together, or at sequences close to one another, cost
one read of the feed, and one rendering for each meaning.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NoReturn

from actors.shared.finding.subject import Subject, matches
from api.live.events import Event, KillmailEvent
from api.live.group import Group
from api.live.stream import Stream
from api.tail import MAX_BEHIND, PAGE_ENTRIES, Tail, TooSlow
from api.view import FeedView, View

SLICE_S: Final = 0.005
"""How long results are rendered or written before the event loop has a turn."""
READ_S: Final = 2.0
"""How long a round waits for the database; then it serves only those that the ring can."""


@dataclass
class Page:
    """Some entries of the feed, and what they are for the groups whose streams read them."""

    views: list[FeedView]
    up_to: int
    results: dict[Group, list[tuple[int, bytes]]] = field(default_factory=dict)
    """Sequences and results, made when the first stream of a group reads the page."""


class Replays:
    """The streams that read the feed."""

    def __init__(
        self, tail: Tail, subject_of: Callable[[View], Subject], join: Callable[[Stream], bool]
    ) -> None:
        self._tail = tail
        self._subject_of = subject_of
        self._join = join
        self._streams: dict[Stream, bool] = {}
        """Whether each was live before, and ends if it falls behind too far."""
        self._has_work = asyncio.Event()
        self._slice_end_s = 0.0

    def start(self, stream: Stream, *, was_live: bool = False) -> None:
        """Have a stream read the feed, until its group has what it lacks."""
        stream.replay = self
        self._streams[stream] = was_live
        self.wake()

    def end(self, stream: Stream) -> None:
        """Have a stream no longer read the feed."""
        stream.replay = None
        self._streams.pop(stream, None)

    def wake(self) -> None:
        """Note that a stream can go on: its socket has drained, or the feed has grown."""
        if self._streams:
            self._has_work.set()

    async def run(self) -> NoReturn:
        """Serve the streams round after round, until cancelled."""
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            ready = [stream for stream in tuple(self._streams) if self._goes_on(stream)]
            if ready:
                self._has_work.set()
                await self._serve(sorted(ready, key=lambda stream: stream.sequence))
            await asyncio.sleep(0)

    def _goes_on(self, stream: Stream) -> bool:
        """Tell whether a stream reads on now; if its group has what it lacks, it is live again."""
        if stream.outlet.is_blocked:
            return False
        if self._join(stream):
            self.end(stream)
            return False
        behind = self._tail.last - stream.sequence
        if self._streams[stream] and behind > MAX_BEHIND:
            self._fail([stream], TooSlow(stream.sequence))
            return False
        return behind > 0

    async def _serve(self, ready: list[Stream]) -> None:
        """Give each of the streams some entries, in the order of their sequences."""
        served = 0
        together: list[Stream] = []
        is_away = False
        while served < len(ready):
            start = min((stream.sequence for stream in together), default=ready[served].sequence)
            page = None if is_away and not self._tail.has_next(start) else await self._page(start)
            if page is None:  # the database is away, or what is there can't be read
                is_away = True
                together, served = [], served + (not together)
                continue
            while served < len(ready) and ready[served].sequence < page.up_to:
                together.append(ready[served])
                served += 1
            for stream in together:
                await self._give(stream, page)
            together = [stream for stream in together if stream.sequence == page.up_to]
            if served == len(ready) or ready[served].sequence >= page.up_to + PAGE_ENTRIES:
                together = []  # nobody is near: the next ones have their turn

    async def _page(self, start: int) -> Page | None:
        """Read the entries after a sequence; None when the database doesn't give them in time."""
        limit = asyncio.timeout(READ_S)
        try:
            async with limit:
                return Page(*await self._tail.read(start))
        except Exception as error:  # ends those that are there only
            if not limit.expired():
                self._fail([one for one in tuple(self._streams) if one.sequence == start], error)
        return None

    async def _give(self, stream: Stream, page: Page) -> None:
        """Write what a page has for a stream, as much as one write may have."""
        if stream.is_over or stream.replay is None or stream.outlet.is_blocked:
            return
        try:
            results = page.results.get(stream.group)
            if results is None:
                results = page.results[stream.group] = await self._render(stream.group, page.views)
            if not stream.is_over:
                stream.write_some(results, page.up_to)
        except Exception as error:  # ends this stream only
            self._fail([stream], error)
        await self._pause()

    async def _render(self, group: Group, views: Iterable[FeedView]) -> list[tuple[int, bytes]]:
        results = []
        for view in views:
            event = self._event_of(group, view)
            if event is not None:
                results.append((event.sequence, await rendered(group, event)))
            await self._pause()
        return results

    def _event_of(self, group: Group, view: FeedView) -> Event | None:
        selection = group.selection
        if not selection.filters or not isinstance(view, View):
            return selection.event_of(view, ())
        subject = self._subject_of(view)
        return selection.event_of(view, selection.matched(lambda tree: matches(tree, subject)))

    async def _pause(self) -> None:
        """Let the event loop have a turn every few milliseconds."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._slice_end_s:
            await asyncio.sleep(0)
            self._slice_end_s = asyncio.get_running_loop().time() + SLICE_S

    def _fail(self, streams: list[Stream], error: Exception) -> None:
        for stream in streams:
            self.end(stream)
            stream.outlet.fail(stream, error)


async def rendered(group: Group, event: Event) -> bytes:
    """Render an event, or take the result that is kept on its entry."""
    if not isinstance(event, KillmailEvent):
        return await group.renderer.render(event)
    kept = event.view.payloads
    key = (*group.meaning, event.matched)
    result = kept.get(key)
    if result is None:
        result = await group.renderer.render(event)
        kept.add(key, result)
    return result
