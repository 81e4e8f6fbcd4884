"""The engine: follows the feed, renders each event once for a group, and hands results to streams.

Groups take turns by what they have cost for each of their streams, the least first: a group of many
clients comes before an odd document of one, and costly documents wait for cheap ones.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from heapq import heappop, heappush
from itertools import count
from time import monotonic
from typing import Any, Final, NoReturn

import structlog
from graphql import Executor

from actors.shared.background import in_background
from actors.shared.finding.subject import Subject
from actors.shared.metrics import SUBSCRIBERS
from api.live.events import Heartbeat, Lagged
from api.live.group import GROUP_BYTES, LEAST_BYTES, RING_BYTES, Group
from api.live.interests import Interests
from api.live.meaning import Meaning, meaning_of
from api.live.passes import Passes
from api.live.render import Renderer
from api.live.replay import Replays, rendered
from api.live.selection import Feed
from api.live.stream import Outlet, Stream
from api.tail import Tail
from api.view import FeedView, View

SLICE_S: Final = 0.005
"""How long results are rendered before the event loop has a turn."""
PAUSE_S: Final = 1.0
"""Pause after an unexpected error."""
MAX_PENDING: Final = 2_000
"""Events that wait for a group's turn; above it, its streams read the feed at their own pace."""
HEARTBEAT_S: Final = 15.0
"""How long a subscription with heartbeats is silent at most."""

_log: Final = structlog.get_logger()


@asynccontextmanager
async def open_engine(tail: Tail, subject_of: Callable[[View], Subject]) -> AsyncIterator["Engine"]:
    """Follow the tail until the block ends."""
    engine = Engine(tail, subject_of)
    async with (
        in_background(engine.run(engine.follow()), "engine: feed"),
        in_background(engine.run(engine.render()), "engine: results"),
        in_background(engine.run(engine.beat()), "engine: heartbeats"),
        in_background(engine.run(engine.replays.run()), "engine: replays"),
    ):
        yield engine
    engine.stop()


class Engine:
    """All groups of a process, and the streams in them."""

    def __init__(self, tail: Tail, subject_of: Callable[[View], Subject]) -> None:
        self._tail = tail
        self._subject_of = subject_of
        self.alive = True
        """Whether all its parts run."""
        self.head = tail.last
        """All entries up to this one were given to the groups."""
        self._groups: dict[tuple[object, Meaning], Group] = {}
        self._interests = Interests()
        self._passes = Passes()
        self._turns: list[tuple[float, int, Group]] = []
        self._number = count()
        self._spent_s = 0.0
        self._has_work = asyncio.Event()
        self._streams = 0
        self.replays = Replays(tail, subject_of, self._join)

    async def run(self, work: Coroutine[Any, Any, NoReturn]) -> None:
        """Run a part of the engine; when it ends, the engine isn't alive any more."""
        try:
            await work
        finally:
            self.alive = False

    def stop(self) -> None:
        """Count no streams any more."""
        SUBSCRIBERS.dec(self._streams)

    # Streams.

    def open(
        self, outlet: Outlet, executor: Executor[Any], feed: Feed, operation_id: str
    ) -> Stream:
        """Begin a subscription; its results are written to the outlet until it is closed."""
        meaning = meaning_of(executor)
        group = self._groups.get((feed.selection, meaning))
        if group is None:
            group = Group(feed.selection, meaning, Renderer(executor), self.head)
            self._groups[feed.selection, meaning] = group
            self._interests.add(group)
        stream = Stream(outlet, group, operation_id, feed.after)
        self._streams += 1
        group.members += 1
        SUBSCRIBERS.inc()
        if not self._join(stream):
            self.replays.start(stream)
        return stream

    def close(self, stream: Stream) -> None:
        """End a subscription; nothing is written for it any more."""
        if stream.is_over:
            return
        stream.is_over = True
        self.replays.end(stream)
        group = stream.group
        group.leave(stream)
        group.members -= 1
        self._streams -= 1
        SUBSCRIBERS.dec()
        if not group.members:
            del self._groups[group.selection, group.meaning]
            self._interests.remove(group)
            group.pending.clear()

    def fell_behind(self, stream: Stream) -> None:
        """Have a stream read the feed, as its group no longer has what it lacks."""
        stream.group.leave(stream)
        if stream.group.selection.is_whole:
            lagged = Lagged(stream.sequence, self._tail.last)
            if result := stream.group.renderer.render_now(lagged):
                stream.write_some([(stream.sequence + 1, result)], stream.sequence)
        self.replays.start(stream, was_live=True)

    def _join(self, stream: Stream) -> bool:
        """Have a stream take its group's results, if these reach back far enough."""
        group = stream.group
        if not group.floor <= stream.sequence <= self.head:
            return False
        self.replays.end(stream)
        group.join(stream)
        return True

    # Events.

    async def follow(self) -> NoReturn:
        """Give each entry of the feed to the groups that send it, until cancelled."""
        while True:
            await self._tail.wait_beyond(self.head)
            try:
                views, up_to = await self._tail.read(self.head)
            except Exception:  # unexpected; read again
                _log.exception("engine.feed_unreadable", retry_in_s=PAUSE_S)
                await asyncio.sleep(PAUSE_S)
                continue
            for view in views:
                self._give(view)
            self.head = up_to
            self.replays.wake()
            await asyncio.sleep(0)

    def _give(self, view: FeedView) -> None:
        try:
            events = list(self._interests.events(view, self._subject_of))
        except Exception:  # an entry that can't be judged is no reason to stop
            _log.exception("engine.entry_failed", sequence=view.sequence)
            return
        for group, event in events:
            group.pending.append(event)
            if len(group.pending) > MAX_PENDING:
                self._restart(group, event.sequence)
            elif not group.is_queued:
                self._queue(group)

    def _restart(self, group: Group, sequence: int) -> None:
        """Have a group that can't keep up begin anew; its streams read what they lack."""
        streams = group.restart(sequence)
        _log.info("engine.group_behind", streams=len(streams), sequence=sequence)
        for stream in streams:
            self.fell_behind(stream)

    def _queue(self, group: Group) -> None:
        group.is_queued = True
        group.cost_s = max(group.cost_s, self._spent_s)
        heappush(self._turns, (group.cost_s, next(self._number), group))
        self._has_work.set()

    async def render(self) -> NoReturn:
        """Render events, group by group, until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            await self._has_work.wait()
            slice_end_s = clock() + SLICE_S
            while self._turns:
                self._spent_s, _, group = heappop(self._turns)
                started_s = clock()
                await self._turn(group)
                now_s = clock()
                group.cost_s += (now_s - started_s) / max(1, group.members)
                group.is_queued = False
                if group.pending:
                    self._queue(group)
                if now_s >= slice_end_s:
                    await asyncio.sleep(0)
                    slice_end_s = clock() + SLICE_S
            self._has_work.clear()

    async def _turn(self, group: Group) -> None:
        """Render a group's next event."""
        if not group.pending:
            return
        event = group.pending[0]
        try:
            result = await rendered(group, event)
        except Exception:  # this event of this group only
            _log.exception("engine.event_failed", sequence=event.sequence)
            result = None
        if group.pending and group.pending[0] is event:
            group.pending.popleft()
            if result is not None:
                self._add(group, event.sequence, result)
            group.admit()

    def _add(self, group: Group, sequence: int, result: bytes) -> None:
        share = RING_BYTES * group.members // max(1, self._streams)
        group.add(sequence, result, min(max(share, LEAST_BYTES), GROUP_BYTES))
        self._passes.add(group)

    async def beat(self) -> NoReturn:
        """Send heartbeats to the groups that want them and were silent, until cancelled."""
        while True:
            await asyncio.sleep(1)
            silent_since_s = monotonic() - HEARTBEAT_S
            for group in tuple(self._groups.values()):
                if (
                    group.selection.is_whole
                    and group.added_s <= silent_since_s
                    and not group.pending
                ):
                    beat = Heartbeat(self.head, datetime.now(UTC))
                    self._add(group, self.head, await group.renderer.render(beat))
