"""Waits that fail by an assertion which says what was there instead."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


@asynccontextmanager
async def within(limit_s: float, say: Callable[[], object]) -> AsyncIterator[None]:
    """Fail with what `say` returns when the block isn't done in time."""
    try:
        async with asyncio.timeout(limit_s) as limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise AssertionError(f"not within {limit_s:g} s; {say()}") from None
