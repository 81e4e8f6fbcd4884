"""Cancel tasks reliably."""

import asyncio
from typing import Any, Final

import structlog

RETRY_S: Final = 1.0
"""Interval of repeated cancellations: libraries may swallow one."""
REDIS_RETRY_S: Final = 0.5
"""The same for tasks that use redis-py, which swallows those that come while it connects."""
TRIES: Final = 8
"""Cancellations after which a task is abandoned, so that the process ends in time."""

log: Final = structlog.get_logger()


async def cancel_and_wait(*tasks: asyncio.Task[Any], retry_s: float = RETRY_S) -> None:
    """Cancel tasks and wait until they have ended; their exceptions aren't raised.

    Takes `TRIES` times `retry_s` at most.
    """
    for _ in range(TRIES):
        unfinished = [task for task in tasks if not task.done()]
        if not unfinished:
            return
        for task in unfinished:
            task.cancel()
        await asyncio.wait(unfinished, timeout=retry_s)
    if left := [task.get_name() for task in tasks if not task.done()]:
        log.error("task.abandoned", tasks=left)
