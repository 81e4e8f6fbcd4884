"""Wait for servers at start: for a limited time, logged once, ended by a request to stop."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from actors.shared.errors import KillstreamError, ServerUnavailable
from actors.shared.outage import Outage

START_S: Final = 60.0
"""How long a start waits for a server."""
RETRY_S: Final = 1.0

T = TypeVar("T")
Explain = Callable[[Exception], KillstreamError | None]


async def when_available(
    what: str, act: Callable[[], Awaitable[T]], explain: Explain, *, wait_s: float = START_S
) -> T:
    """Call `act`; retry for up to `wait_s` while its server is unavailable, logging it once.

    Args:
        what: The name of the server in log lines.
        act: The operation. May be called any number of times.
        explain: Converts an exception of `act` into a KillstreamError; None when it can't. Only
            `ServerUnavailable` is retried.
        wait_s: How long to retry.

    Raises:
        KillstreamError: the error from `explain`.
    """
    outage = Outage(what)
    deadline_s = time.monotonic() + wait_s
    while True:
        try:
            done = await act()
        except Exception as error:  # `explain` knows which errors of which library are refusals
            refusal = explain(error)
            if refusal is None:
                raise
            is_late = time.monotonic() + RETRY_S > deadline_s
            if is_late or not isinstance(refusal, ServerUnavailable):
                raise refusal from None
            outage.failed(error)
            await asyncio.sleep(RETRY_S)
        else:
            outage.worked()
            return done


async def ends_before(stop: asyncio.Event, work: Coroutine[Any, Any, Any]) -> bool:
    """Run `work`, or cancel it when `stop` is set first; return whether it completed."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            return True
        return False
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.wait({working, stopping})
