"""What came on a topic."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer

from actors.shared.settings import Settings
from actors.shared.topics import Topic

TIMEOUT_S = 30


@asynccontextmanager
async def consumer_of(topic: Topic, settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    """Read a topic from its beginning, outside any group."""
    consumer = AIOKafkaConsumer(
        topic.name,
        bootstrap_servers=settings.kafka_bootstrap,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def take(consumer: AIOKafkaConsumer, count: int) -> list[Any]:
    """Wait for so many messages."""
    async with asyncio.timeout(TIMEOUT_S):
        return [await anext(consumer) for _ in range(count)]
