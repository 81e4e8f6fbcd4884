"""Let long computations share the event loop: each computes for some milliseconds in its turn."""

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass
from time import perf_counter
from typing import Final

SLICE_S: Final = 0.005
"""How long executions compute in one iteration of the loop."""
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
        self._is_scheduled = False
        self._handed_out = 0

    def is_over(self) -> bool:
        """Return whether this iteration's slice is used up, and a turn must be waited for."""
        now = perf_counter()
        if self._ends_at is None:
            self._ends_at = now + SLICE_S
            self._schedule()
        return now > self._ends_at

    def is_overdue(self) -> bool:
        """Return whether the slice is used up twice, as what was begun in it takes long."""
        return self.is_over() and perf_counter() > (self._ends_at or 0) + SLICE_S

    async def wait(self, execution: Execution) -> None:
        """Wait for a turn of an execution."""
        turn = asyncio.get_running_loop().create_future()
        queue = self._short if execution.turns < SHORT else self._long
        queue.setdefault(execution, deque()).append(turn)
        self._schedule()
        await turn

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._begin_iteration)

    def _begin_iteration(self) -> None:
        self._is_scheduled = False
        self._ends_at = None
        while queue := self._next_queue():
            execution, turns = queue.popitem(last=False)
            turn = turns.popleft()
            if turns:
                queue[execution] = turns  # behind the others
            if not turn.done():  # its operation wasn't cancelled
                self._handed_out += 1
                execution.turns += 1
                turn.set_result(None)
                break
        if self._short or self._long:
            self._schedule()

    def _next_queue(self) -> _Queue | None:
        is_for_long = self._long and self._handed_out % LONG_EVERY == 0
        return self._long if is_for_long else self._short or self._long or None
