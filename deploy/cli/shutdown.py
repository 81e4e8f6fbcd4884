"""How a process ends: signals, and a limit on the whole shutdown.

Every part bounds its own waits. This is the outermost bound: it holds whatever is frozen, since it
neither needs the event loop nor any part to react.
"""

import asyncio
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import wraps
from types import FrameType
from typing import Any, Final, ParamSpec

import structlog

from actors.shared.counts import counts
from actors.shared.supervisor import STOPPING, notify

log: Final = structlog.get_logger()
P = ParamSpec("P")

SIGNALS: Final = frozenset({signal.SIGINT, signal.SIGTERM})
LIMIT_S: Final = 22.0
"""A shutdown that takes longer is given up; supervisors kill after 30 s."""
SAME_REQUEST_S: Final = 0.5
"""A signal this soon after the first belongs to it: a terminal or a supervisor signals the whole
group, and a parent passes it on."""


def hold_signals() -> None:
    """Have SIGINT and SIGTERM wait until `Shutdown.watch`; call it before other threads start."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def holding_signals(command: Callable[P, None]) -> Callable[P, None]:
    """Have a command hold signals before it imports what it runs: libraries start threads then."""

    @wraps(command)
    def held(*args: P.args, **kwargs: P.kwargs) -> None:
        hold_signals()
        command(*args, **kwargs)

    return held


class Shutdown:
    """The end of one process: begun once, over within the limit."""

    def __init__(self, what: str, stop: asyncio.Event, limit_s: float = LIMIT_S) -> None:
        self._what = what
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        self._limit_s = limit_s
        self._begun = threading.Event()

    def watch(self) -> None:
        """Begin with the first SIGINT or SIGTERM, or when `stop` is set; end at once with a second.

        A thread takes the signals, so that a second one works while the event loop is stuck.
        """
        threading.Thread(target=self._take_signals, name="signals", daemon=True).start()
        self._watching = asyncio.create_task(self._begin_when_stopped())

    def begin(self) -> None:
        """Set `stop`, and end the process when it is still there after the limit."""
        if self._begun.is_set():
            return
        self._begun.set()
        notify(STOPPING)
        self._loop.call_soon_threadsafe(self._stop.set)
        timer = threading.Timer(self._limit_s, self._give_up)
        timer.daemon = True
        timer.start()

    async def _begin_when_stopped(self) -> None:
        await self._stop.wait()
        self.begin()

    def _take_signals(self) -> None:
        first = signal.sigwait(SIGNALS)
        first_s = time.monotonic()
        log.info("shutdown.started", signal=signal.Signals(first).name)
        self.begin()
        while True:
            signum = signal.sigwait(SIGNALS)
            if time.monotonic() - first_s > SAME_REQUEST_S:
                self._end_at_once(f"second signal, {signal.Signals(signum).name}")

    def _give_up(self) -> None:
        self._end_at_once(f"not finished {self._limit_s:g} s after the request to stop")

    def _end_at_once(self, reason: str) -> None:
        log.error("shutdown.abandoned", reason=reason, unfinished=unfinished(self._loop))
        done = ", ".join(f"{name} {value:g}" for name, value in counts().items())
        sys.stderr.write(f"{self._what}: {done}\n")
        sys.stderr.flush()
        os._exit(1)


def unfinished(loop: asyncio.AbstractEventLoop) -> list[str]:
    """Name what still runs, with where it waits: our tasks and the threads that aren't idle."""
    tasks = [
        f"{task.get_name()} in {_innermost(task.get_coro())}"
        for task in asyncio.all_tasks(loop)
        if _NAMED_BY_US.fullmatch(task.get_name())
    ]
    frames = sys._current_frames()
    threads = [
        f"thread {thread.name} in {place}"
        for thread in threading.enumerate()
        if not (thread.daemon or (loop.is_running() and thread is threading.main_thread()))
        if (frame := frames.get(thread.ident or 0)) and (place := _innermost_of_thread(frame))
    ]
    return sorted(tasks) + sorted(threads)


_NAMED_BY_US: Final = re.compile(r"(?!Task-)[a-z][a-z0-9 ]*")


def _innermost(coroutine: Any) -> str:
    """Follow a suspended coroutine to the one that waits for something else than a coroutine."""
    name = "?"
    while coroutine is not None and hasattr(coroutine, "__qualname__"):
        name = coroutine.__qualname__
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "ag_await", None)
    return name


def _innermost_of_thread(frame: FrameType) -> str | None:
    """Name the innermost function that isn't the standard library's waiting; None when idle."""
    for f in _outwards(frame):
        module = f.f_globals.get("__name__", "?")
        if not module.startswith(_WAITING):
            return f"{module}.{f.f_code.co_qualname}"
    return None


_WAITING: Final = ("threading", "queue", "concurrent.", "selectors", "socket", "ssl")


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
