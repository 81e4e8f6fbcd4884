"""One thread that sends messages: pika's connection is neither shared nor asynchronous.

The thread is a daemon: a server that doesn't answer never keeps a process from ending. Who waits
for a message that wasn't sent by then hasn't been told that it was.
"""

from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Final, TypeVar

T = TypeVar("T")

IDLE_S: Final = 2.0
"""After so long without a message `when_idle` is called, so that heartbeats go out."""


class Sender:
    """Runs what it is given, one at a time and in order."""

    def __init__(self, when_idle: Callable[[], None]) -> None:
        self._when_idle = when_idle
        self._waiting: SimpleQueue[tuple[Future[object], Callable[[], object]]] = SimpleQueue()
        self._starting = Lock()
        self._thread: Thread | None = None

    def submit(self, send: Callable[[], T]) -> "Future[T]":
        """Have `send` called; the future gives what it returns or raises."""
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
                self._when_idle()
                continue
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(send())
            except BaseException as error:  # whoever waits gets it
                future.set_exception(error)
