"""Run a coroutine beside a block of code."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog

from actors.shared.cancellation import REDIS_RETRY_S, cancel_and_wait
from actors.shared.outage import one_line

log: Final = structlog.get_logger()


@asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Run `work` until the block ends; then cancel it, and wait until it has ended.

    The end takes as long as `cancel_and_wait` at most. An error of `work` doesn't end the block:
    it is logged when it occurs.
    """

    def log_error(ended: asyncio.Task[None]) -> None:
        if not ended.cancelled() and (error := ended.exception()):
            log.error("background.failed", task=name, reason=one_line(error))

    task = asyncio.create_task(work, name=name)
    task.add_done_callback(log_error)
    try:
        yield
    finally:
        await cancel_and_wait(task, retry_s=REDIS_RETRY_S)
