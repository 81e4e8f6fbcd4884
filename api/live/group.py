"""A group: the streams that get the same results, and the recent results for them."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Final

from api.live.events import Event
from api.live.frames import parts_of
from api.live.meaning import Meaning
from api.live.render import Renderer
from api.live.selection import Selection

if TYPE_CHECKING:
    from api.live.stream import Stream

RING_BYTES: Final = 64 * 1024 * 1024
"""Results that all groups together keep for clients that are a little behind."""
GROUP_BYTES: Final = 8 * 1024 * 1024
LEAST_BYTES: Final = 128 * 1024
"""What one group keeps: its share by the number of its streams, within these bounds."""
JOINED_BYTES: Final = 64 * 1024
"""Results joined in one write, at most (but at least one result)."""


class Group:
    """Streams of one selection and one meaning; positions count its results from 0."""

    __slots__ = (
        "_bytes",
        "_results",
        "_sequences",
        "added_s",
        "cost_s",
        "first",
        "floor",
        "is_queued",
        "joining",
        "meaning",
        "members",
        "pending",
        "renderer",
        "selection",
        "sent",
        "streams",
    )

    def __init__(
        self, selection: Selection, meaning: Meaning, renderer: Renderer, head: int
    ) -> None:
        self.selection = selection
        self.meaning = meaning
        self.renderer = renderer
        self.members = 0
        """Streams that belong to it, whether they read its results or the feed."""
        self.pending: deque[Event] = deque()
        """Events that aren't rendered yet."""
        self.is_queued = False
        """Whether it waits for its turn."""
        self.cost_s = 0.0
        """What rendering has cost, divided by the number of members."""
        self.added_s = monotonic()
        """When the newest result came, by the monotonic clock."""
        self._results: list[bytes] = []
        self._sequences: list[int] = []
        """Of the results, in order."""
        self._bytes = 0
        self.first = 0
        """The position of the oldest result that is kept."""
        self.floor = head
        """All results for sequences above this one are kept."""
        self.sent = 0
        """The position up to which the latest pass goes."""
        self.streams: dict[Stream, None] = {}
        """Those that read its results."""
        self.joining: list[Stream] = []
        """Those that wait until events that they have are rendered."""

    @property
    def end(self) -> int:
        """The position behind the newest result."""
        return self.first + len(self._results)

    def add(self, sequence: int, result: bytes, limit_bytes: int) -> None:
        """Append a result; drop the oldest ones above a limit."""
        self._results.append(result)
        self._sequences.append(sequence)
        self._bytes += len(result)
        self.added_s = monotonic()
        if self._bytes > 2 * limit_bytes:  # half at once: to shorten a list in front is slow
            self._drop(limit_bytes)

    def _drop(self, limit_bytes: int) -> None:
        dropped = 0
        while self._bytes > limit_bytes and self.first + dropped < self.end - 1:
            self._bytes -= len(self._results[dropped])
            dropped += 1
        if dropped:
            self.floor = self._sequences[dropped - 1]
            del self._results[:dropped], self._sequences[:dropped]
            self.first += dropped
            self.sent = max(self.sent, self.first)

    def join(self, stream: Stream) -> None:
        """Have a stream read the results above its sequence, which is at least `floor`."""
        if self.pending and self.pending[0].sequence <= stream.sequence:
            self.joining.append(stream)
            return
        stream.position = self.first + bisect_right(self._sequences, stream.sequence)
        self.streams[stream] = None
        stream.catch_up()

    def admit(self) -> None:
        """Let the streams in that had to wait, as far as they can now."""
        joining, self.joining = self.joining, []
        for stream in joining:
            self.join(stream)

    def leave(self, stream: Stream) -> None:
        """Have a stream no longer read the results."""
        self.streams.pop(stream, None)
        if stream in self.joining:
            self.joining.remove(stream)

    def restart(self, sequence: int) -> list[Stream]:
        """Forget all up to a sequence; returns the streams, which are no longer in it."""
        streams = [*self.streams, *self.joining]
        self.streams.clear()
        self.joining.clear()
        self.pending.clear()
        self.first = self.sent = self.end
        self._results.clear()
        self._sequences.clear()
        self._bytes = 0
        self.floor = sequence
        return streams

    def sequence_before(self, position: int) -> int:
        """Return the sequence of the result before a position."""
        return self._sequences[position - self.first - 1] if position > self.first else self.floor

    def stop(self, start: int) -> int:
        """Return the position up to which one write goes that starts at a position."""
        size = 0
        kept = islice(self._results, start - self.first, None)
        for position, result in enumerate(kept, start):
            size += len(result)
            if size > JOINED_BYTES:
                return max(position, start + 1)
        return self.end

    def parts(self, start: int, stop: int, prefix_bytes: int) -> list[bytes]:
        """Make the frames from one position to another, to be joined by a prefix."""
        return parts_of(self._results[start - self.first : stop - self.first], prefix_bytes)
