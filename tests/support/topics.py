"""What came on a topic."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from actors.shared.settings import Settings
from actors.shared.topics import MAX_MESSAGE_BYTES, Topic
from tests.support.waiting import within

TIMEOUT_S = 30
READ_S = 120


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


async def read_to_end(
    settings: Settings, partitions: Collection[TopicPartition]
) -> list[ConsumerRecord[bytes | None, bytes | None]]:
    """Read all that partitions hold now."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap,
        max_partition_fetch_bytes=MAX_MESSAGE_BYTES,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        records: list[ConsumerRecord[bytes | None, bytes | None]] = []
        async with within(READ_S, lambda: f"{len(records)} records came of {ends}"):
            while any([await consumer.position(p) < ends[p] for p in partitions]):
                for some in (await consumer.getmany(timeout_ms=200)).values():
                    records += some
        return records
    finally:
        await consumer.stop()


async def take(consumer: AIOKafkaConsumer, count: int) -> list[Any]:
    """Wait for so many messages."""
    taken: list[Any] = []
    async with within(TIMEOUT_S, lambda: f"{len(taken)} of {count} messages came"):
        while len(taken) < count:
            taken.append(await anext(consumer))
    return taken
