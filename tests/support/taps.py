"""Record what passes through the servers, and what they hold, as raw bytes."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import pika
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.settings import Settings
from actors.shared.tables import METADATA
from tests.support.topics import read_to_end

TRACE: Final = "amq.rabbitmq.trace"
"""The exchange that gets a copy of each message. Source: RabbitMQ's manual, Firehose Tracer."""


@asynccontextmanager
async def recorded_messages(settings: Settings) -> AsyncIterator[list[bytes]]:
    """Record each message published to RabbitMQ; the list is complete after the block."""
    parameters = pika.URLParameters(settings.rabbitmq_url)
    connection = await asyncio.to_thread(pika.BlockingConnection, parameters)
    messages: list[bytes] = []
    try:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, TRACE, "publish.#")
        await _trace(settings, enabled=True)
        try:
            yield messages
        finally:
            await _trace(settings, enabled=False)
        while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
            messages.append(repr(got[1]).encode() + got[2])
    finally:
        connection.close()


async def _trace(settings: Settings, *, enabled: bool) -> None:
    parts = urlsplit(settings.rabbitmq_url)
    login = aiohttp.encode_basic_auth(parts.username or "", parts.password or "")
    url = f"{settings.rabbitmq_management_url}/api/vhosts{parts.path}"
    async with (
        aiohttp.ClientSession(headers={"Authorization": login}) as http,
        http.put(url, json={"tracing": enabled}) as answer,
    ):
        assert answer.status == 204, await answer.text()


@asynccontextmanager
async def recorded_commands(settings: Settings) -> AsyncIterator[list[bytes]]:
    """Record each command to Redis, with its arguments."""
    parts = urlsplit(settings.redis_url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=2**26)
    commands: list[bytes] = []

    async def record() -> None:
        while line := await reader.readline():
            commands.append(line)

    writer.write(b"MONITOR\r\n")
    assert await reader.readline() == b"+OK\r\n"
    recording = asyncio.create_task(record())
    try:
        yield commands
        assert not recording.done(), recording
    finally:
        recording.cancel()
        writer.close()


async def read_topics(settings: Settings) -> dict[str, list[bytes]]:
    """Read all records of all topics but Kafka's own, by topic."""
    partitions = await _partitions(settings)
    found: dict[str, list[bytes]] = {one.topic: [] for one in partitions}
    for record in await read_to_end(settings, partitions):
        found[record.topic].append(_joined([record.key, record.value]))
    return found


async def _partitions(settings: Settings) -> list[TopicPartition]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    await admin.start()
    try:
        topics = await admin.describe_topics()
    finally:
        await admin.close()
    return [
        TopicPartition(topic["topic"], partition["partition"])
        for topic in topics
        if not topic["is_internal"]
        for partition in topic["partitions"]
    ]


async def read_tables(database: AsyncEngine) -> dict[str, list[bytes]]:
    """Read all rows of all tables, by table."""
    found = {}
    async with database.connect() as connection:
        for table in METADATA.sorted_tables:
            rows = await connection.execute(select(table))
            found[table.name] = [_joined(row) for row in rows]
    return found


def _joined(values: Iterable[Any]) -> bytes:
    return b" ".join(one if isinstance(one, bytes) else str(one).encode() for one in values)
