"""Waiting for servers at start: bounded, said once, and cut short by a request to stop."""

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
    """Do something; while its server is away do it again for up to `wait_s`, saying so once.

    Args:
        what: The server, as log lines name it.
        act: What to do. May be called any number of times.
        explain: Makes one of our errors of what `act` raises; None when it can't. Only
            `ServerUnavailable` is waited for.
        wait_s: How long.

    Raises:
        KillstreamError: what `explain` made.
    """
    outage = Outage(what)
    deadline_s = time.monotonic() + wait_s
    while True:
        try:
            done = await act()
        except Exception as error:
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
    """Run `work` to its end, or cut it short when `stop` is set first; tell whether it ended."""
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
