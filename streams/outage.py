"""Waiting for servers that are unavailable: each try has a limit, and each wait is said once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import asyncpg
import structlog
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from streams.cancellation import cancel_and_wait

MAX_DELAY_S: Final = 10.0
OUTAGES: Final = (
    OSError,  # TimeoutError too
    SQLAlchemyError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    KafkaError,
    RedisError,
)
"""What is temporary: servers that are unavailable."""

T = TypeVar("T")

log: Final = structlog.get_logger()


async def retry_until_available(what: str, act: Callable[[], Awaitable[T]], *, try_s: float) -> T:
    """Do something until it works; a try that takes longer than `try_s` is given up.

    Says once what is waited for, and when it is back. Only cancelling ends it before.
    """
    delay_s, waiting = 0.2, False
    while True:
        try:
            async with asyncio.timeout(try_s):
                done = await act()
        except OUTAGES as error:
            if not waiting:
                log.warning("poll.waits", what=what, reason=reason_of(error, try_s))
            waiting = True
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, MAX_DELAY_S)
        else:
            if waiting:
                log.info("poll.goes_on", what=what)
            return done


async def finish(act: Awaitable[T], grace_s: float) -> T:
    """Await something that, when cancelled, is given some seconds to come to its end.

    A connection that is cancelled while it is being opened stays open, unknown to its pool.
    """
    task = asyncio.ensure_future(act)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=grace_s)
        await cancel_and_wait(task)
        if not task.cancelled():
            task.exception()  # nobody waits for it any more
        raise


def reason_of(error: BaseException, try_s: float | None = None) -> str:
    """Say in one line what went wrong."""
    if isinstance(error, TimeoutError) and not str(error) and try_s is not None:
        return f"no answer within {try_s:g} s"
    return f"{type(error).__name__}: {error}".rstrip(": ").splitlines()[0]
