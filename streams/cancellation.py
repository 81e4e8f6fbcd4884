"""End tasks, as certainly as tasks can be ended."""

import asyncio
from typing import Any, Final

import structlog

RETRY_S: Final = 1.0
"""After this a task that goes on is cancelled once more: libraries may swallow a cancellation."""
TRIES: Final = 8
"""So many cancellations, then a task is left behind: the process is to end in time."""

log: Final = structlog.get_logger()


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have ended; what they raise stays with them.

    Takes `TRIES` times `RETRY_S` at most.
    """
    for _ in range(TRIES):
        unfinished = [task for task in tasks if not task.done()]
        if not unfinished:
            return
        for task in unfinished:
            task.cancel()
        await asyncio.wait(unfinished, timeout=RETRY_S)
    if left := [task.get_name() for task in tasks if not task.done()]:
        log.error("task.left_behind", tasks=left)
