"""Retry while servers are unavailable: each try has a time limit, each outage is logged once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import asyncpg
import structlog
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from actors.shared.cancellation import cancel_and_wait

MAX_DELAY_S: Final = 10.0
OUTAGES: Final = (
    OSError,  # TimeoutError too
    SQLAlchemyError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    KafkaError,
    RedisError,
)
"""Temporary errors: unavailable servers."""

T = TypeVar("T")

log: Final = structlog.get_logger()


async def retry_until_available(what: str, act: Callable[[], Awaitable[T]], *, try_s: float) -> T:
    """Call `act` until it succeeds; a try that takes longer than `try_s` is cancelled.

    Logs the start and the end of an outage once. Only cancellation ends it before.
    """
    delay_s, waiting = 0.2, False
    while True:
        try:
            async with asyncio.timeout(try_s):
                done = await act()
        except OUTAGES as error:
            if not waiting:
                log.warning("poll.paused", what=what, reason=reason_of(error, try_s))
            waiting = True
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, MAX_DELAY_S)
        else:
            if waiting:
                log.info("poll.resumed", what=what)
            return done


async def finish(act: Awaitable[T], grace_s: float) -> T:
    """Await `act`; on cancellation give it `grace_s` to complete.

    A connection that is cancelled while it is being opened would stay open, unknown to its pool.
    """
    task = asyncio.ensure_future(act)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        # Also when a second cancellation ends this wait, and the task fails later.
        task.add_done_callback(_retrieve)
        await asyncio.wait({task}, timeout=grace_s)
        await cancel_and_wait(task)
        raise


def _retrieve(task: asyncio.Future[T]) -> None:
    """Retrieve the exception, so that asyncio doesn't log it."""
    if not task.cancelled():
        task.exception()


def reason_of(error: BaseException, try_s: float | None = None) -> str:
    """Format an error in one line."""
    if isinstance(error, TimeoutError) and not str(error) and try_s is not None:
        return f"no answer within {try_s:g} s"
    return f"{type(error).__name__}: {error}".rstrip(": ").splitlines()[0]
