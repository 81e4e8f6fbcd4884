"""One thread that sends messages, as pika's blocking connection isn't thread-safe.

The thread is a daemon, so that a silent server never blocks the exit of a process. The future of a
message that wasn't sent by then is never completed.
"""

from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Final, TypeVar

import structlog

from actors.shared.outage import one_line

log: Final = structlog.get_logger()
T = TypeVar("T")

IDLE_S: Final = 2.0
"""Time without a message after which `when_idle` is called, to send heartbeats."""


class Sender:
    """Calls functions in its thread, one at a time and in order."""

    def __init__(self, when_idle: Callable[[], None]) -> None:
        self._when_idle = when_idle
        self._waiting: SimpleQueue[tuple[Future[object], Callable[[], object]]] = SimpleQueue()
        self._starting = Lock()
        self._thread: Thread | None = None

    def submit(self, send: Callable[[], T]) -> "Future[T]":
        """Queue a call of `send`; the future receives its result or exception."""
        future: Future[T] = Future()
        self._waiting.put((future, send))  # type: ignore[arg-type]  # a future of T is one of object here
        with self._starting:
            if self._thread is None:
                self._thread = Thread(target=self._run, name="enqueue", daemon=True)
                self._thread.start()
        return future

    def _run(self) -> None:
        while True:
            try:
                future, send = self._waiting.get(timeout=IDLE_S)
            except Empty:
                self._idle()
                continue
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(send())
            except BaseException as error:  # passed to the caller
                future.set_exception(error)

    def _idle(self) -> None:
        """Call `when_idle`; a failure must not end the thread, on which every message depends."""
        try:
            self._when_idle()
        except Exception as error:  # whatever it is, the next message is still sent
            log.warning("sender.idle_failed", reason=one_line(error))
