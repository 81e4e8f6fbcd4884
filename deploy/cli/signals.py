"""Stop a command's work on a signal."""

import asyncio
import signal
from contextlib import suppress


def cancel_on_signals() -> None:
    """Have SIGINT and SIGTERM cancel this task, once; a second one ends the process."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task

    def cancel() -> None:
        for number in signal.SIGINT, signal.SIGTERM:
            loop.remove_signal_handler(number)
        task.cancel()

    with suppress(RuntimeError):  # only the main thread has signals
        for number in signal.SIGINT, signal.SIGTERM:
            loop.add_signal_handler(number, cancel)
