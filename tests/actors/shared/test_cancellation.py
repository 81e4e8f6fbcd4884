"""A cancelled task ends, or is named."""

import asyncio
from contextlib import suppress

import structlog

from actors.shared.cancellation import cancel_and_wait


async def test_a_swallowed_cancellation_is_followed_by_another() -> None:
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while swallowed < 3:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            swallowed += 1
        await asyncio.Event().wait()

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await cancel_and_wait(task, retry_s=0.01)
    assert task.cancelled()
    assert swallowed == 3


async def test_what_swallows_every_cancellation_is_abandoned_and_named() -> None:
    released = asyncio.Event()

    async def stubborn() -> None:
        while not released.is_set():
            with suppress(asyncio.CancelledError):
                await released.wait()

    task = asyncio.create_task(stubborn(), name="stubborn")
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        with structlog.testing.capture_logs() as logged:
            await cancel_and_wait(task, retry_s=0.01)
        assert not task.done()
        assert logged == [{"event": "task.abandoned", "tasks": ["stubborn"], "log_level": "error"}]
        released.set()
        await task


async def test_what_a_task_raised_stays_with_it() -> None:
    async def breaks() -> None:
        raise ValueError("broken")

    task = asyncio.create_task(breaks())
    await asyncio.sleep(0)
    await cancel_and_wait(task, retry_s=0.01)
    assert isinstance(task.exception(), ValueError)
