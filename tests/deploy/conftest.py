from collections.abc import Iterator

import pytest
from dramatiq.asyncio import EventLoopThread, get_event_loop_thread, set_event_loop_thread
from dramatiq.logging import get_logger

START_S = 10


@pytest.fixture
def actors_loop() -> Iterator[EventLoopThread]:
    """Run the event loop that an actors process has beside its main one."""
    before, thread = get_event_loop_thread(), EventLoopThread(get_logger("test"))
    thread.start(timeout=START_S)
    set_event_loop_thread(thread)
    try:
        yield thread
    finally:
        set_event_loop_thread(before)
        thread.stop()
        thread.join()
