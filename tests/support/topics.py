"""What came on a topic."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer

from actors.shared.settings import Settings
from actors.shared.topics import Topic
from tests.support.waiting import within

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
    taken: list[Any] = []
    async with within(TIMEOUT_S, lambda: f"{len(taken)} of {count} messages came"):
        while len(taken) < count:
            taken.append(await anext(consumer))
    return taken
