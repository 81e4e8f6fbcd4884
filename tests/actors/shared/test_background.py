"""What runs in the background ends with its block, and doesn't fail unseen."""

import asyncio

import structlog

from actors.shared.background import in_background


async def test_work_ends_with_the_block() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.set()

    async with in_background(work(), "work"):
        await begun.wait()
    assert ended.is_set()


async def test_an_error_is_logged_at_once_and_the_block_goes_on() -> None:
    async def work() -> None:
        raise ValueError("broken\ninvariant")

    with structlog.testing.capture_logs() as logged:
        async with in_background(work(), "work"):
            while not logged:
                await asyncio.sleep(0)
    (line,) = logged
    assert (line["event"], line["task"]) == ("background.failed", "work")
    assert "broken" in line["reason"]
    assert "\n" not in line["reason"]


async def test_work_whose_library_swallows_a_cancellation_ends_with_the_block() -> None:
    swallowed = asyncio.Event()
    waiting = asyncio.Event()

    async def work() -> None:
        try:
            waiting.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed.set()
        await asyncio.Event().wait()

    async with asyncio.timeout(10), in_background(work(), "work"):
        await waiting.wait()
    assert swallowed.is_set()
    assert "work" not in {task.get_name() for task in asyncio.all_tasks()}
