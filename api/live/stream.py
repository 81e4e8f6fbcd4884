"""A stream: one subscription of one client, and how far it got. No task, no queue."""

from __future__ import annotations

from bisect import bisect_right
from operator import itemgetter
from typing import TYPE_CHECKING, Protocol

from actors.shared.metrics import DELIVERIES
from api.live.frames import next_prefix, parts_of
from api.live.group import JOINED_BYTES, Group

if TYPE_CHECKING:
    from api.live.replay import Replays


class Outlet(Protocol):
    """The connection of a client."""

    is_blocked: bool
    """Whether the socket is full, or the connection is closing."""

    def write(self, data: bytes) -> None:
        """Write frames."""

    def fell_behind(self, stream: Stream) -> None:
        """Take note that a stream's group no longer has what it lacks."""

    def fail(self, stream: Stream, error: Exception) -> None:
        """End a stream with an error."""


class Stream:
    """Reads its group's results while it follows closely; else a replay reads the feed."""

    __slots__ = (
        "group",
        "is_over",
        "operation_id",
        "outlet",
        "position",
        "prefix",
        "replay",
        "sequence",
    )

    def __init__(self, outlet: Outlet, group: Group, operation_id: str, sequence: int) -> None:
        self.outlet = outlet
        self.group = group
        self.operation_id = operation_id
        self.prefix = next_prefix(operation_id)
        self.sequence = sequence
        """All up to this one was written, or isn't sent."""
        self.position = 0
        """Of the next result in the group."""
        self.replay: Replays | None = None
        """What reads the feed for it, while its group doesn't have what it lacks."""
        self.is_over = False

    def write_new(self, start: int, stop: int, shared: dict[int, list[bytes]]) -> int:
        """Write the results of a pass, whose parts are shared by the length of the prefix.

        Returns how many.
        """
        if self.position != start or self.outlet.is_blocked:
            return self.catch_up()  # it came or drained in the meantime, or is behind
        parts = shared.get(len(self.prefix))
        if parts is None:
            parts = shared[len(self.prefix)] = self.group.parts(start, stop, len(self.prefix))
        self.outlet.write(self.prefix.join(parts))
        self.position = stop
        self.sequence = self.group.sequence_before(stop)
        return stop - start

    def catch_up(self) -> int:
        """Write what it lacks, as long as the socket takes it; returns how many."""
        group, written = self.group, 0
        if self.replay is not None:
            self.replay.wake()
        if self.is_over or self.replay is not None:
            return 0
        while self.position < group.end and not self.outlet.is_blocked:
            if self.position < group.first:
                self.outlet.fell_behind(self)
                break
            stop = group.stop(self.position)
            parts = group.parts(self.position, stop, len(self.prefix))
            self.outlet.write(self.prefix.join(parts))
            written += stop - self.position
            self.position = stop
            self.sequence = group.sequence_before(stop)
        return written

    def write_some(self, results: list[tuple[int, bytes]], up_to: int) -> None:
        """Write the first of these results that it lacks, as much as one write may have.

        Args:
            results: Sequences and results.
            up_to: The sequence up to which these are all.
        """
        start = bisect_right(results, self.sequence, key=itemgetter(0))
        stop, size = start, 0
        while stop < len(results) and (
            stop == start or size + len(results[stop][1]) <= JOINED_BYTES
        ):
            size += len(results[stop][1])
            stop += 1
        if stop > start:
            some = (result for _, result in results[start:stop])
            self.outlet.write(self.prefix.join(parts_of(some, len(self.prefix))))
            DELIVERIES.inc(stop - start)
        self.sequence = up_to if stop == len(results) else results[stop - 1][0]
