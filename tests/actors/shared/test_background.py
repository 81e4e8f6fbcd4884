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
