"""The tests' own servers: started by `just test` on ports of their own, emptied at will."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pika
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import NodeNotReadyError
from redis.asyncio import Redis

from actors.shared.queues import Queue
from actors.shared.settings import PREFIX, Settings
from deploy.migrate import migrate

ROOT = Path(__file__).parents[2]
_templates: list[str] = []

allowed = True
"""Whether the test that runs is marked with `service`."""


def server_urls() -> dict[str, str]:
    """Read the URLs of the servers that belong to the tests, as settings by name."""
    assert allowed, "mark the test with `service`: it uses the servers"
    folder = os.environ.get("KILLSTREAM_SERVICES_DIR", str(ROOT / ".killstream/test-servers"))
    lines = (Path(folder) / "services.env").read_text().splitlines()
    return {
        name.removeprefix(PREFIX).lower(): value
        for name, _, value in (line.partition("=") for line in lines if "=" in line)
    }


@asynccontextmanager
async def empty_servers() -> AsyncIterator[Settings]:
    """Empty RabbitMQ, Redis and Kafka, make a fresh database; give settings that name them.

    Only for servers of the tests' own: what they hold is deleted.
    """
    urls = server_urls()
    await asyncio.to_thread(_empty_rabbitmq, urls["rabbitmq_url"])
    await _empty_redis(urls["redis_url"])
    await _empty_kafka(urls["kafka_url"])
    async with migrated_database() as database_url:
        yield Settings(**{**urls, "database_url": database_url})  # type: ignore[arg-type]


@asynccontextmanager
async def migrated_database() -> AsyncIterator[str]:
    """Create a database with our tables on the tests' PostgreSQL; drop it at the end.

    It is a copy of one that was migrated once, which takes a third of the time of a migration.
    """
    template = f"killstream_template_{os.getpid()}"
    if template not in _templates:
        parts = urlsplit(server_urls()["database_url"])
        await _execute(parts._replace(scheme="postgresql").geturl(), f"CREATE DATABASE {template}")
        await migrate(Settings(database_url=parts._replace(path=f"/{template}").geturl()))
        _templates.append(template)
    async with fresh_database(template=template) as url:
        yield url


async def drop_templates() -> None:
    """Drop what `migrated_database` copies from."""
    while _templates:
        admin = urlsplit(server_urls()["database_url"])._replace(scheme="postgresql").geturl()
        await _drop(admin, _templates.pop())


@asynccontextmanager
async def fresh_database(*, template: str = "template1") -> AsyncIterator[str]:
    """Create a database on the tests' PostgreSQL, empty by default; drop it at the end."""
    parts = urlsplit(server_urls()["database_url"])
    admin = parts._replace(scheme="postgresql").geturl()
    name = f"killstream_test_{uuid.uuid4().hex[:12]}"
    await _execute(admin, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield parts._replace(path=f"/{name}").geturl()
    finally:
        await _drop(admin, name)


async def _drop(admin: str, name: str) -> None:
    """Drop a database; what is still connected to it is cut off.

    Autovacuum may be at work in it: FORCE may not end that, but a plain DROP makes it stop.
    """
    try:
        await _execute(admin, f"DROP DATABASE {name} WITH (FORCE)")
    except asyncpg.InsufficientPrivilegeError:
        await _execute(admin, f"DROP DATABASE {name}")


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _empty_rabbitmq(url: str) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    for queue in Queue:
        for name in (queue.value, f"{queue}.DQ", f"{queue}.XQ"):
            connection.channel().queue_delete(name)
    connection.close()


async def _empty_redis(url: str) -> None:
    async with Redis.from_url(url) as redis:
        await redis.flushdb()


async def _deleted(admin: AIOKafkaAdminClient) -> bool:
    """Delete our topics; return whether there were none."""
    try:
        ours = [t for t in await admin.list_topics() if t.startswith("killm") or "killstream" in t]
        if ours:
            await admin.delete_topics(ours)
    except NodeNotReadyError:  # a busy broker closed the connection: the next call makes one
        return False
    return not ours


async def _empty_kafka(url: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=urlsplit(url).netloc)
    await admin.start()
    try:
        async with asyncio.timeout(30):
            while not await _deleted(admin):
                await asyncio.sleep(0.1)
    finally:
        await admin.close()
