"""RedisQ's queues, in memory and in Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from actors.shared.settings import Settings
from api.doors import queues
from api.doors.queues import Queues, QueuesUnavailable, open_queues, turn_of
from tests.support.servers import server_urls


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.service)])
async def two(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[list[Queues]]:
    """The queues of two gateways; in memory both are one."""
    redis_url = server_urls()["redis_url"] if request.param == "redis" else ""
    settings = Settings(data_dir=tmp_path, redis_url=redis_url, namespace=f"t{uuid4().hex}")
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(open_queues(settings))
        second = await stack.enter_async_context(open_queues(settings)) if redis_url else first
        yield [first, second]


async def test_a_queue_goes_on_where_the_last_poll_ended(two: list[Queues]) -> None:
    for gateway, start, expected in ((0, 5, 5), (1, 6, 7), (0, 7, 9)):
        async with turn_of(two[gateway], "q", "me", 60, start) as turn:
            assert turn.position == expected
            turn.position += 2
    async with turn_of(two[0], "other", "me", 60, 8) as turn:
        assert turn.position == 8


async def test_a_queue_is_polled_by_one(two: list[Queues]) -> None:
    async with turn_of(two[0], "q", "me", 60, 5) as turn:
        with pytest.raises(queues.QueueBusy, match="one request at a time"):
            await two[1].begin("q", "you", 60, 5)
        turn.position = 6
    assert await two[1].begin("q", "you", 60, 5) == 6


async def test_a_queue_that_nobody_polls_is_forgotten(two: list[Queues]) -> None:
    async with turn_of(two[0], "q", "me", 1, 5):
        pass
    await asyncio.sleep(1.1)
    assert await two[1].begin("q", "me", 1, 9) == 9


async def test_the_number_of_queues_is_bounded(
    two: list[Queues], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "QUEUES_PER_CLIENT", 2)
    monkeypatch.setattr(queues, "QUEUES", 3)
    for name in ("a", "b", "a"):
        async with turn_of(two[0], name, "me", 60, 1):
            pass
    with pytest.raises(queues.QueueBusy, match="your address has 2 queues"):
        await two[1].begin("c", "me", 60, 1)
    async with turn_of(two[1], "c", "you", 60, 1):
        pass
    with pytest.raises(queues.QueueBusy, match="too many queues"):
        await two[0].begin("d", "you", 60, 1)
    assert await two[0].begin("c", "you", 60, 9) == 1


async def test_unavailable_redis_is_said() -> None:
    async with open_queues(Settings(redis_url="redis://127.0.0.1:1/0")) as unavailable:
        with pytest.raises(QueuesUnavailable):
            await unavailable.begin("q", "me", 60, 1)
