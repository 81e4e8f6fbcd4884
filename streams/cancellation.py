"""End tasks for certain."""

import asyncio
from typing import Any, Final

RETRY_S: Final = 1.0
"""After this a task that goes on is cancelled once more: libraries may swallow a cancellation."""


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have ended; what they raise stays with them."""
    while unfinished := [task for task in tasks if not task.done()]:
        for task in unfinished:
            task.cancel()
        await asyncio.wait(unfinished, timeout=RETRY_S)
