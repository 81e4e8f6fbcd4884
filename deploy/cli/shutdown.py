"""End a process: signals, and a time limit of the whole shutdown.

Every part limits its own waits. This limit is the last one: it works also when the event loop or a
part is stuck, since it uses a thread.
"""

import asyncio
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

import structlog

from actors.shared.counts import counts

log: Final = structlog.get_logger()

SIGNALS: Final = frozenset({signal.SIGINT, signal.SIGTERM})
LIMIT_S: Final = 22.0
"""Time limit of a shutdown; then the process exits. Supervisors send SIGKILL after 30 s."""
SAME_REQUEST_S: Final = 0.5
"""A second signal within this time is ignored: a terminal or a supervisor signals the whole group,
and a parent forwards the signal to its children."""


def block_signals() -> None:
    """Block SIGINT and SIGTERM until `Shutdown.watch`; call it before other threads start."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


class Shutdown:
    """The shutdown of one process; starts once and ends within the limit."""

    def __init__(self, what: str, stop: asyncio.Event, limit_s: float = LIMIT_S) -> None:
        self._what = what
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        self._limit_s = limit_s
        self._started = threading.Event()

    def watch(self) -> None:
        """Start at the first SIGINT or SIGTERM, or when `stop` is set; exit at a second signal.

        A thread receives the signals, so that a second one works while the event loop is stuck.
        """
        threading.Thread(target=self._receive_signals, name="signals", daemon=True).start()
        self._watching = asyncio.create_task(self._start_when_stopped())

    def start(self) -> None:
        """Set `stop`, and exit if the process still runs after the limit."""
        if self._started.is_set():
            return
        self._started.set()
        self._loop.call_soon_threadsafe(self._stop.set)
        timer = threading.Timer(self._limit_s, self._abandon)
        timer.daemon = True
        timer.start()

    async def _start_when_stopped(self) -> None:
        await self._stop.wait()
        self.start()

    def _receive_signals(self) -> None:
        first = signal.sigwait(SIGNALS)
        first_s = time.monotonic()
        log.info("shutdown.started", signal=signal.Signals(first).name)
        self.start()
        while True:
            signum = signal.sigwait(SIGNALS)
            if time.monotonic() - first_s > SAME_REQUEST_S:
                self._exit(f"second signal, {signal.Signals(signum).name}")

    def _abandon(self) -> None:
        self._exit(f"not finished {self._limit_s:g} s after the request to stop")

    def _exit(self, reason: str) -> None:
        log.error("shutdown.abandoned", reason=reason, unfinished=unfinished(self._loop))
        done = ", ".join(f"{name} {value:g}" for name, value in counts().items())
        sys.stderr.write(f"{self._what}: {done}\n")
        sys.stderr.flush()
        os._exit(1)


def unfinished(loop: asyncio.AbstractEventLoop) -> list[str]:
    """Return our unfinished tasks and busy threads, each with its innermost function."""
    tasks = [
        f"{task.get_name()} in {_innermost(task.get_coro())}"
        for task in asyncio.all_tasks(loop)
        if _OUR_TASK_NAMES.fullmatch(task.get_name())
    ]
    frames = sys._current_frames()
    threads = [
        f"thread {thread.name} in {function}"
        for thread in threading.enumerate()
        if not (thread.daemon or (loop.is_running() and thread is threading.main_thread()))
        if (frame := frames.get(thread.ident or 0)) and (function := _innermost_of_thread(frame))
    ]
    return sorted(tasks) + sorted(threads)


_OUR_TASK_NAMES: Final = re.compile(r"(?!Task-)[a-z][a-z0-9 ]*")


def _innermost(coroutine: Any) -> str:
    """Return the name of the innermost coroutine that a suspended coroutine awaits."""
    name = "?"
    while coroutine is not None and hasattr(coroutine, "__qualname__"):
        name = coroutine.__qualname__
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "ag_await", None)
    return name


def _innermost_of_thread(frame: FrameType) -> str | None:
    """Return the innermost function outside of the standard library's waits; None when idle."""
    for f in _frames(frame):
        module = f.f_globals.get("__name__", "?")
        if not module.startswith(_WAITING):
            return f"{module}.{f.f_code.co_qualname}"
    return None


_WAITING: Final = ("threading", "queue", "concurrent.", "selectors", "socket", "ssl")


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
