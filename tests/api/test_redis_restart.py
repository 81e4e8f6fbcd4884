"""A Redis that dies under a running gateway costs time and no killmail."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from actors.shared.settings import Settings
from tests.api.gateway import Writer, a_killmail, connect
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.service


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.kill()


@pytest.fixture
def settings(redis_server: RedisServer, tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path,
        redis_url=f"redis://127.0.0.1:{redis_server.port}/0",
        names_deadline_ms=0,
    )


async def test_subscriber_receives_every_killmail_once_across_a_restart_of_redis(
    client: aiohttp.ClientSession, writer: Writer, redis_server: RedisServer
) -> None:
    async with connect(client) as connection:
        await connection.subscribe("subscription { killmailAdded { sequence } }")

        async def sequences(count: int) -> list[int]:
            return [(await connection.next())["killmailAdded"]["sequence"] for _ in range(count)]

        await writer.add(1)
        assert await sequences(1) == [1]
        redis_server.kill()
        unpublished = await writer.store(a_killmail(2), a_killmail(3))
        assert await sequences(2) == [2, 3], "the table is read while Redis is away"
        telling = asyncio.create_task(writer.publish(*unpublished))
        await asyncio.to_thread(redis_server.start)
        await telling
        await writer.add(4)
        assert await sequences(1) == [4]
        while not await is_connected(client):
            pass
        await writer.add(5)
        assert await sequences(1) == [5]


async def is_connected(client: aiohttp.ClientSession) -> bool:
    async with client.get("/health/redis") as answer:
        connected: bool = (await answer.json())["connected"]
        return connected
