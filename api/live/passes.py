"""Write what is new to all streams of the groups that grew.

A lone event is written in the same turn of the event loop. Passes that follow one another closely
are spaced, so that each write holds more frames: a write costs ten times what a frame in it does.
"""

import asyncio
from collections.abc import Iterator
from typing import Final

from actors.shared.metrics import DELIVERIES
from api.live.group import Group

WRITES: Final = 256
"""Writes in a row before the event loop has a turn."""
SPACING_S: Final = 0.02
"""How long the next pass waits after the end of one."""


class Passes:
    """The groups that have something new."""

    def __init__(self) -> None:
        self._due: dict[Group, None] = {}
        self._running: Iterator[None] | None = None
        self._ended_s = 0.0
        self._loop = asyncio.get_running_loop()

    def add(self, group: Group) -> None:
        """See to it that a pass serves this group soon."""
        self._due[group] = None
        if self._running is None:
            self._running = self._serve()
            wait_s = self._ended_s + SPACING_S - self._loop.time()
            if wait_s > 0:
                self._loop.call_later(wait_s, self._go_on)
            else:
                self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        assert self._running
        if next(self._running, self) is not self:
            self._loop.call_soon(self._go_on)
            return
        self._running = None
        self._ended_s = self._loop.time()
        if self._due:
            self.add(next(iter(self._due)))

    def _serve(self) -> Iterator[None]:
        """Write to each stream of the due groups; yields when the loop should have a turn."""
        groups, self._due = self._due, {}
        writes = delivered = 0
        for group in sorted(groups, key=lambda group: -len(group.streams)):
            while group.sent < group.end:
                start = max(group.sent, group.first)
                stop = group.sent = group.stop(start)
                shared: dict[int, list[bytes]] = {}
                for stream in tuple(group.streams):
                    try:
                        delivered += stream.write_new(start, stop, shared)
                    except Exception as error:  # ends this stream only
                        stream.outlet.fail(stream, error)
                    writes += 1
                    if writes % WRITES == 0:
                        yield
        DELIVERIES.inc(delivered)
