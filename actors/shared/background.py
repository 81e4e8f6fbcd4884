"""Run a coroutine beside a block of code."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog

from actors.shared.outage import one_line

log: Final = structlog.get_logger()

RETRY_S: Final = 0.5
"""Interval of repeated cancellations: libraries may swallow one (redis while it connects)."""
TRIES: Final = 8
"""Cancellations after which the work is abandoned, so that the process ends in time."""


@asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Run `work` until the block ends; then cancel it, and wait until it has ended.

    The end takes `TRIES` times `RETRY_S` at most. An error of `work` doesn't end the block: it is
    logged when it occurs.
    """

    def log_error(ended: asyncio.Task[None]) -> None:
        if not ended.cancelled() and (error := ended.exception()):
            log.error("background.failed", task=name, reason=one_line(error))

    task = asyncio.create_task(work, name=name)
    task.add_done_callback(log_error)
    try:
        yield
    finally:
        await cancel_until_ended(task)


async def cancel_until_ended(task: asyncio.Task[None]) -> None:
    """Cancel a task until it has ended; abandon it after `TRIES` times `RETRY_S`."""
    for _ in range(TRIES):
        task.cancel()
        if (await asyncio.wait([task], timeout=RETRY_S))[0]:
            return
    log.error("background.abandoned", task=task.get_name())
