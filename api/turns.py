"""Let long computations share the event loop: each computes for some milliseconds in its turn.

Between turns the loop is left alone for a while, as what others do takes many short steps.
"""

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass
from time import perf_counter
from typing import Final

SLICE_S: Final = 0.002
"""How long executions compute in one iteration of the loop."""
PAUSE: Final = 0.5
"""How long the loop is left alone after a turn, as a part of the time that the turn took."""
SHORT: Final = 20
"""An execution that has had fewer turns goes before others."""
LONG_EVERY: Final = 4
"""Each such turn is one of a long execution, whatever else waits."""


@dataclass(eq=False)
class Execution:
    """One that waits for turns."""

    turns: int = 0
    """Those that it has had."""


_Queue = OrderedDict[Execution, deque["asyncio.Future[None]"]]


class Turns:
    """Hands out turns, one in each iteration of the loop: to short executions, then to long ones.

    An execution may wait for several turns at once, as its lists are completed side by side; that
    gives it no more of them than others get.
    """

    def __init__(self) -> None:
        self._short: _Queue = OrderedDict()
        self._long: _Queue = OrderedDict()
        self._ends_at: float | None = None
        """When this iteration's slice is over; None before anything was computed in it."""
        self._began_at = 0.0
        """When the latest turn began."""
        self._is_busy = False
        """Turns are handed out."""
        self._handed_out = 0

    def is_over(self) -> bool:
        """Return whether this iteration's slice is used up, and a turn must be waited for."""
        now = perf_counter()
        if self._ends_at is None:
            self._ends_at = now + SLICE_S
            asyncio.get_running_loop().call_soon(self._begin_iteration)
        return now > self._ends_at

    def is_overdue(self) -> bool:
        """Return whether the slice is used up twice, as what was begun in it takes long."""
        return self.is_over() and perf_counter() > (self._ends_at or 0) + SLICE_S

    async def enter(self) -> None:
        """Wait for a turn before something is begun, if this iteration's slice is used up."""
        if self.is_over():
            await self.wait(Execution())

    async def wait(self, execution: Execution) -> None:
        """Wait for a turn of an execution."""
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        queue = self._short if execution.turns < SHORT else self._long
        queue.setdefault(execution, deque()).append(turn)
        if not self._is_busy:
            self._is_busy = True
            loop.call_later(SLICE_S * PAUSE, self._hand_out)
        await turn
        self._began_at = perf_counter()
        self._ends_at = self._began_at + SLICE_S

    def release(self, execution: Execution) -> None:
        """End the waits of an execution that is to end."""
        for queue in (self._short, self._long):
            for turn in queue.pop(execution, ()):
                if not turn.done():
                    turn.set_result(None)

    def _begin_iteration(self) -> None:
        self._ends_at = None

    def _hand_out(self) -> None:
        while queue := self._next_queue():
            execution, turns = queue.popitem(last=False)
            turn = turns.popleft()
            if turns:
                queue[execution] = turns  # behind the others
            if not turn.done():  # its operation wasn't cancelled
                self._handed_out += 1
                execution.turns += 1
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._end_turn)  # behind the one that waited
                return
        self._is_busy = False

    def _end_turn(self) -> None:
        self._ends_at = None
        used_s = perf_counter() - self._began_at
        loop = asyncio.get_running_loop()
        if used_s < SLICE_S * PAUSE:
            loop.call_soon(self._hand_out)
        else:
            loop.call_later(used_s * PAUSE, self._hand_out)

    def _next_queue(self) -> _Queue | None:
        is_for_long = self._long and self._handed_out % LONG_EVERY == 0
        return self._long if is_for_long else self._short or self._long or None
