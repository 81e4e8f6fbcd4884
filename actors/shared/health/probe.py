"""Run a probe with a time limit."""

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
"""Whether a probe is running: its result replaces the log lines of libraries."""
_running: Final[set["asyncio.Task[Any]"]] = set()
"""Running probes, including those past their time limit."""


async def within(limit_s: float, work: Coroutine[Any, Any, T]) -> T | Unreachable:
    """Return the probe's result or `Unreachable`, within the limit; raises nothing.

    A probe that takes longer continues in the background, as closing a connection to a silent
    server takes time, too. Its own waits must be limited.
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
    """Suppress log lines of these libraries during probes; call after importing them."""
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
        task.exception()  # retrieved, so that asyncio doesn't log it
