"""What the processes report in Redis: bounded, and without those that vanished."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from redis.asyncio import Redis

from actors.shared import heartbeat as module
from actors.shared.heartbeat import Heartbeat, beating, read_heartbeats
from actors.shared.settings import Settings
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.service
IDS = "killstream:processes"
BEAT = Heartbeat("actors", "host", datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    server = RedisServer(tmp_path)
    yield Settings(redis_url=f"redis://127.0.0.1:{server.port}/0")
    server.kill()


@pytest.fixture
async def redis(settings: Settings) -> AsyncIterator[Redis]:
    async with Redis.from_url(settings.redis_url) as opened:
        yield opened


async def add(redis: Redis, process_id: str, value: bytes | None) -> None:
    """Add a process; None: it vanished."""
    await cast(Any, redis.sadd(IDS, process_id))
    if value is not None:
        await redis.set(f"killstream:process:{process_id}", value, ex=10)


async def ids(redis: Redis) -> set[bytes]:
    return set(await cast(Any, redis.smembers(IDS)))


async def test_process_that_starts_forgets_those_that_vanished(
    settings: Settings, redis: Redis
) -> None:
    for number in range(50):
        await add(redis, f"crashed-{number}", None)
    await add(redis, "runs", msgspec.json.encode(BEAT))
    async with beating(settings, lambda: BEAT, every_s=0.05), asyncio.timeout(10):
        while len(await ids(redis)) != 2:
            await asyncio.sleep(0.02)
        assert b"runs" in await ids(redis)
    assert await ids(redis) == {b"runs"}


async def test_reports_in_another_form_are_left_out(settings: Settings, redis: Redis) -> None:
    much = msgspec.structs.replace(BEAT, runs={f"work-{n}": None for n in range(101)})
    for name, value in (
        ("of another version", b'{"part": "gateway"}'),
        ("no report", b"\xff"),
        ("too much", msgspec.json.encode(much)),
        ("right", msgspec.json.encode(BEAT)),
    ):
        await add(redis, name, value)
    assert [one.host for one in await read_heartbeats(settings)] == ["host"]


async def test_so_many_processes_are_read_at_once(
    settings: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PROCESSES", 10)
    for number in range(25):
        await add(redis, f"a-{number:02}", None if number < 20 else msgspec.json.encode(BEAT))
    counts = [len(await read_heartbeats(settings)) for _ in range(3)]
    assert counts == [0, 0, 5]
