"""Health: what this process needs decides over ready, everything else over degraded."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from actors.shared.settings import Settings
from actors.shared.tables import LEDGER
from actors.shared.topics import STORED, create_topics
from api import health as health_module
from api.live.engine import Engine
from tests.api.gateway import Writer, a_killmail, connect, serve
from tests.support.processes import frozen, server_pids
from tests.support.proxy import Proxy, open_proxy
from tests.support.servers import empty_servers

PATHS = ("/health", "/health/live", "/health/ready")


async def get(client: aiohttp.ClientSession, path: str) -> tuple[int, dict[str, Any]]:
    began_s = time.monotonic()
    async with client.get(path) as answer:
        body = await answer.json()
    assert time.monotonic() - began_s < 3, "health answers in time, whatever is frozen"
    return answer.status, body


async def until(client: aiohttp.ClientSession, status: str, *down: str) -> dict[str, Any]:
    """Wait until `/health` has the given values."""
    async with asyncio.timeout(20):
        while True:
            code, body = await get(client, "/health")
            assert code == (503 if body["status"] == "down" else 200)
            assert body["down"] == list(dict.fromkeys(p["part"] for p in body["problems"]))
            if (body["status"], *body["down"]) == (status, *down):
                return body
            await asyncio.sleep(0.1)


async def test_everything_is_up(client: aiohttp.ClientSession, writer: Writer) -> None:
    await writer.add(1)
    while (body := await until(client, "up"))["feed"]["lastSequence"] == 0:
        await asyncio.sleep(0.1)
    assert (body["status"], body["live"], body["ready"]) == ("up", True, True)
    assert (body["down"], body["problems"]) == ([], [])
    assert body["parts"] == {
        "database": "answers",
        "rabbitmq": "embedded",
        "kafka": "embedded",
        "redis": "embedded",
    }
    assert body["feed"]["lastSequence"] == body["feed"]["sentUpTo"] == 1
    assert body["feed"]["ageSeconds"] >= 0
    assert await get(client, "/health/live") == (200, {"live": True})
    assert await get(client, "/health/ready") == (200, {"ready": True})


@pytest.mark.parametrize("table", ["alembic_version", "feed"])
async def test_without_a_schema_the_gateway_is_live_and_not_ready(
    client: aiohttp.ClientSession, writer: Writer, table: str
) -> None:
    async with writer.database.begin() as connection:
        await connection.exec_driver_sql(f"DROP TABLE {table}")
    body = await until(client, "down", "database")
    assert (body["live"], body["ready"]) == (True, False)
    assert await get(client, "/health/live") == (200, {"live": True})
    assert await get(client, "/health/ready") == (503, {"ready": False})


async def test_stalled_feed_is_degraded_and_ready(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    received_at = datetime.now(UTC) - timedelta(minutes=10)
    async with writer.database.begin() as connection:
        await connection.execute(
            LEDGER.insert().values(
                source="r2z2:x",
                position=1,
                kind="received",
                received_at=received_at,
                next_try_at=received_at,
            )
        )
    body = await until(client, "degraded", "feed")
    assert body["ready"] is True
    since = body["problems"][0]["since"]
    assert datetime.fromisoformat(since) - datetime.now(UTC) < timedelta(seconds=5)
    await asyncio.sleep(health_module.FRESH_S + 0.1)
    again = await until(client, "degraded", "feed")
    assert again["problems"][0]["since"] == since, "since it was seen first"
    await writer.add(1)
    await until(client, "up")


async def test_gateway_behind_the_feed_table_is_degraded(
    client: aiohttp.ClientSession, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_module, "BEHIND_S", 0.0)
    monkeypatch.setattr(health_module, "FRESH_S", 0.0)
    await until(client, "up")
    async with writer.database.begin() as connection:  # the table can't be read any more
        await connection.exec_driver_sql("ALTER TABLE feed RENAME COLUMN killmail_id TO other")
        await connection.exec_driver_sql("UPDATE feed_counter SET last_sequence = 9")
    body = await until(client, "degraded", "gateway")
    assert body["feed"]["sentUpTo"] == 0


async def test_unavailable_redis_is_degraded(tmp_path: Path, writer: Writer) -> None:
    settings = Settings(data_dir=tmp_path, redis_url="redis://user:secret@127.0.0.1:1/0")
    async with serve(settings) as address, aiohttp.ClientSession(address) as client:
        body = await until(client, "degraded", "redis")
        assert "secret" not in str(body)
        assert "127.0.0.1" not in str(body)


@asynccontextmanager
async def proxied_gateway(
    *names: str,
) -> AsyncIterator[tuple[aiohttp.ClientSession, dict[str, Proxy]]]:
    """A gateway that reaches the tests' servers through proxies, on an empty database."""
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(empty_servers())
        urls = servers.model_dump(include={f"{name}_url" for name in names})
        proxies = {
            name: await stack.enter_async_context(open_proxy(urls[f"{name}_url"])) for name in names
        }
        named = {f"{name}_url": proxy.url(urls[f"{name}_url"]) for name, proxy in proxies.items()}
        settings = Settings.model_validate({"database_url": servers.database_url} | named)
        if settings.kafka_url:
            await create_topics(settings)
        address = await stack.enter_async_context(serve(settings))
        yield await stack.enter_async_context(aiohttp.ClientSession(address)), proxies


@pytest.mark.service
@pytest.mark.parametrize("name", ["rabbitmq", "kafka", "redis"])
async def test_silent_server_is_degraded_until_it_answers_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_module, "SLOW_PROBE_S", 1.0)
    async with proxied_gateway(name) as (client, proxies):
        await until(client, "up")
        proxies[name].go_silent()
        body = await until(client, "degraded", name)
        assert body["parts"][name] == "unreachable"
        assert await get(client, "/health/ready") == (200, {"ready": True})
        proxies[name].resume()
        await until(client, "up")


@pytest.mark.service
async def test_silent_database_is_down_until_it_answers_again() -> None:
    async with proxied_gateway("database") as (client, proxies):
        await until(client, "up")
        proxies["database"].go_silent()
        await until(client, "down", "database")
        assert await get(client, "/health/ready") == (503, {"ready": False})
        assert await get(client, "/health/live") == (200, {"live": True})
        proxies["database"].resume()
        await until(client, "up")


@pytest.mark.service
async def test_health_answers_in_time_while_postgresql_is_frozen() -> None:
    async with proxied_gateway() as (client, _):
        await until(client, "up")
        with frozen(server_pids()["postgres"]):
            began_s = time.monotonic()
            await until(client, "down", "database")
            assert time.monotonic() - began_s < 8
            for path in PATHS * 2:
                await get(client, path)
        await until(client, "up")


@pytest.mark.service
async def test_deleted_topic_is_degraded_until_it_exists_again() -> None:
    async with empty_servers() as settings, AsyncExitStack() as stack:
        await create_topics(settings)
        address = await stack.enter_async_context(serve(settings))
        client = await stack.enter_async_context(aiohttp.ClientSession(address))
        await until(client, "up")
        admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
        await admin.start()
        stack.push_async_callback(admin.close)
        await admin.delete_topics([STORED.name])
        body = await until(client, "degraded", "kafka")
        assert STORED.name in body["problems"][0]["reason"]
        while STORED.name in await admin.list_topics():
            await asyncio.sleep(0.05)
        await create_topics(settings)
        await until(client, "up")


async def test_known_killmail_is_served_while_degraded(tmp_path: Path, writer: Writer) -> None:
    await writer.store(a_killmail(7))
    settings = Settings(data_dir=tmp_path, redis_url="redis://127.0.0.1:1/0")
    async with serve(settings) as address, aiohttp.ClientSession(address) as client:
        await until(client, "degraded", "redis")
        async with client.get("/killmails/7") as answer:
            assert answer.status == 200


@pytest.mark.service
async def test_gateway_answers_and_ends_in_time_while_all_servers_are_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ("database", "rabbitmq", "kafka", "redis")
    async with AsyncExitStack() as stack:
        client, proxies = await stack.enter_async_context(proxied_gateway(*names))
        await until(client, "up")
        for proxy in proxies.values():
            proxy.go_silent()
        monkeypatch.setattr(health_module, "FRESH_S", 0.0)  # each answer waits for the probes
        for path in (*PATHS, "/health/redis"):
            await get(client, path)
        async with connect(client) as connection:
            payload = {"query": "subscription { killmailAdded(after: 0) { sequence } }"}
            await connection.socket.send_json({"type": "subscribe", "id": "1", "payload": payload})
            began_s = time.monotonic()
            ended = asyncio.create_task(stack.aclose())
            await connection.socket.receive(timeout=15)
        await ended
        assert time.monotonic() - began_s < 12


async def test_a_part_of_the_engine_that_ended_is_a_problem(
    settings: Settings, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def end(_: Engine) -> None:
        raise RuntimeError("unexpected")

    monkeypatch.setattr(Engine, "render", end)
    async with (
        serve(settings) as address,
        aiohttp.ClientSession(address) as http,
        http.get("/health") as answer,
    ):
        report = await answer.json()
    assert report["status"] == "degraded"
    assert "subscriptions have ended: restart this process" in str(report["problems"])
