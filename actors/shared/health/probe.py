"""Ask a server within a limit, and leave it alone when it doesn't answer."""

import asyncio
import logging
from collections.abc import Awaitable, Coroutine
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from actors.shared.errors import KillstreamError
from actors.shared.health.facts import Unreachable
from actors.shared.outage import one_line

T = TypeVar("T")

_probing: Final[ContextVar[bool]] = ContextVar("probing", default=False)
"""Whether a probe is at work: what libraries would log then is in its answer."""
_running: Final[set["asyncio.Task[Any]"]] = set()
"""Probes that have yet to end, those that were given up on included."""


async def within(limit_s: float, work: Coroutine[Any, Any, T]) -> T | Unreachable:
    """Give what the probe gives, or why it can't; returns within the limit and raises nothing.

    A probe that takes longer is left to end by itself, not waited for: closing a connection to a
    server that is silent can take as long as asking it. So its own waits have limits, too.
    """
    task = asyncio.create_task(_quietly(work))
    _running.add(task)
    task.add_done_callback(_end)
    try:
        await asyncio.wait([task], timeout=limit_s)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if not task.done():
        return Unreachable(f"no answer within {limit_s:g} s")
    error = None if task.cancelled() else task.exception()
    if error is None:
        return task.result()
    return Unreachable(str(error) if isinstance(error, KillstreamError) else one_line(error))


def quieten(*libraries: str) -> None:
    """Keep what these libraries log during a probe out of the log, with their modules loaded."""
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.split(".")[0] in libraries and isinstance(logger, logging.Logger):
            logger.addFilter(_unless_probing)


def _unless_probing(_record: logging.LogRecord) -> bool:
    return not _probing.get()


async def _quietly(work: Awaitable[T]) -> T:
    _probing.set(True)
    return await work


def _end(task: "asyncio.Task[Any]") -> None:
    _running.discard(task)
    if not task.cancelled():
        task.exception()  # looked at, in case that nobody waits any more
