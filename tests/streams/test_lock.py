"""Of many processes one works, the others say that they stand by and take over."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from streams.lock import Lease, run_alone
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.service


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """A Redis of the test's own."""
    server = RedisServer(tmp_path)
    yield f"redis://127.0.0.1:{server.port}/0"
    server.kill()


async def test_a_second_one_says_once_that_it_stands_by_and_takes_over(redis: str) -> None:
    stop, first_ends = asyncio.Event(), asyncio.Event()
    began: asyncio.Queue[str] = asyncio.Queue()

    async def first(_: asyncio.Event) -> None:
        began.put_nowait("first")
        await first_ends.wait()

    async def second(_: asyncio.Event) -> None:
        began.put_nowait("second")

    with structlog.testing.capture_logs() as logs:
        holding = asyncio.create_task(run_alone(redis, "source", first, stop, Lease(), end_s=5.0))
        assert await began.get() == "first"
        waiting = asyncio.create_task(run_alone(redis, "source", second, stop, Lease(), end_s=5.0))
        async with asyncio.timeout(20):
            while not [entry for entry in logs if entry.get("part") == "standby"]:
                await asyncio.sleep(0.01)
        first_ends.set()
        assert await asyncio.wait_for(began.get(), 20) == "second"
        await asyncio.gather(holding, waiting)
    standing_by = [entry for entry in logs if entry["event"] == "ready"]
    assert [entry["waits_for"] for entry in standing_by] == ["source"]
