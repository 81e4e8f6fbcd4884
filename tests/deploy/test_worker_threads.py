"""Threads that outlive the actors are waited for, but not for long."""

import time
from threading import Event, Thread

from deploy.workers import join_threads


def test_threads_end_before_the_time_is_over() -> None:
    said: list[str] = []
    closed = Event()

    def log_when_closed() -> None:
        closed.wait()
        said.append("failed, as the connection is closed")

    threads = [Thread(target=log_when_closed, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    closed.set()
    join_threads(threads, 10)
    assert len(said) == 3


def test_threads_that_hang_are_left_behind() -> None:
    held = Event()
    threads = [Thread(target=held.wait, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    began_s = time.monotonic()
    join_threads(threads, 0.2)
    assert time.monotonic() - began_s < 2
    assert all(thread.is_alive() for thread in threads)
    held.set()
