"""Replays: read the feed for streams whose group doesn't have what they lack.

Readers share the pages of the tail, and results are kept on the entries of a page, so that many
clients that resume together cost one read, and one rendering for each meaning. One replay at a time
renders, a few milliseconds in a row.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from actors.shared.finding.subject import Subject, matches
from api.live.events import Event, Killmails
from api.live.group import Group
from api.live.stream import Stream
from api.tail import MAX_BEHIND, Tail, TooSlow
from api.view import FeedView, View

SLICE_S: Final = 0.005
"""How long a replay renders before another one does."""
SLICE_BYTES: Final = 64 * 1024
"""What it writes at once, about."""

_log: Final = structlog.get_logger()


class Replays:
    """The streams that read the feed."""

    def __init__(
        self, tail: Tail, subject_of: Callable[[View], Subject], join: Callable[[Stream], bool]
    ) -> None:
        self._tail = tail
        self._subject_of = subject_of
        self._join = join
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    def start(self, stream: Stream, first: Event | None = None, *, was_live: bool = False) -> None:
        """Have a stream read the feed, until its group has what it lacks.

        Args:
            stream: The stream.
            first: What is written before.
            was_live: Whether it fell behind, and ends if it falls behind too far.
        """
        running = self._run(stream, first, was_live)
        task = asyncio.create_task(running, name="engine: replay")
        stream.replay = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """End all."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, stream: Stream, first: Event | None, was_live: bool) -> None:
        try:
            if first is not None:
                stream.write([await rendered(stream.group, first)])
            while not self._join(stream):
                if was_live and self._tail.last - stream.sequence > MAX_BEHIND:
                    raise TooSlow(stream.sequence)
                await self._read(stream)
        except Exception as error:  # ends this stream only
            stream.outlet.fail(stream, error)

    async def _read(self, stream: Stream) -> None:
        """Write the next entries of the feed, as far as the stream's group sends them."""
        await self._tail.wait_beyond(stream.sequence)
        views, up_to = await self._tail.read(stream.sequence)
        left = deque(views)
        while left:
            await stream.outlet.drained()
            async with self._turn:
                results = await self._render_some(stream.group, left)
            stream.write(results)
            stream.sequence = left[0].entry.sequence - 1 if left else up_to
            await asyncio.sleep(0)
        stream.sequence = up_to

    async def _render_some(self, group: Group, left: deque[FeedView]) -> list[bytes]:
        """Render as many of the entries as a slice has time for, at least one; removes them."""
        clock = asyncio.get_running_loop().time
        end_s = clock() + SLICE_S
        results: list[bytes] = []
        size = 0
        while left and size < SLICE_BYTES:
            event = self._event_of(group, left.popleft())
            if event is not None:
                results.append(await rendered(group, event))
                size += len(results[-1])
            if clock() >= end_s:
                break
        return results

    def _event_of(self, group: Group, view: FeedView) -> Event | None:
        selection = group.selection
        if not selection.filters or not isinstance(view, View):
            return selection.event_of(view, ())
        subject = self._subject_of(view)
        return selection.event_of(view, selection.matched(lambda tree: matches(tree, subject)))


async def rendered(group: Group, event: Event) -> bytes:
    """Render an event, or take the result that is kept on its entry."""
    if not isinstance(event, Killmails):
        return await group.renderer.render(event)
    kept = event.view.payloads
    key = (*group.meaning, event.matched)
    result = kept.get(key)
    if result is None:
        result = await group.renderer.render(event)
        kept.add(key, result)
    return result
