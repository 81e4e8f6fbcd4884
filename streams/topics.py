"""Recreate topics that are deleted at runtime."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from actors.shared.errors import ServerUnavailable
from actors.shared.settings import Settings
from actors.shared.topics import CLOSE_S, RECEIVED, create_topics

CHECK_EVERY_S: Final = 5.0
ANSWER_S: Final = 10.0

log: Final = structlog.get_logger()


async def keep_topics(
    settings: Settings,
    on_lost: Callable[[], Awaitable[object]],
    check_every_s: float = CHECK_EVERY_S,
) -> None:
    """Recreate missing topics, until cancelled.

    Calls `on_lost` after the references' topic was recreated, to recall the ledger. Does nothing
    while Kafka is unavailable, which producer and consumer log.

    Raises:
        Misconfigured: Kafka refuses to create a topic.
    """
    while True:
        await asyncio.sleep(check_every_s)
        try:
            created = await create_topics(settings, wait_s=0)
        except ServerUnavailable:
            continue
        if created:
            log.error("kafka.topics_recreated", topics=created)
        if settings.named(RECEIVED.name) in created:
            await on_lost()


async def holds_nothing(settings: Settings) -> bool:
    """Return whether the references' topic never had a message: it is new, or lost its data.

    False when Kafka doesn't answer.
    """
    topic = settings.named(RECEIVED.name)
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=settings.kafka_bootstrap, auto_offset_reset="latest"
    )
    try:
        async with asyncio.timeout(ANSWER_S):
            await consumer.start()
            numbers = consumer.partitions_for_topic(topic) or ()
            ends = await consumer.end_offsets([TopicPartition(topic, n) for n in numbers])
    except (KafkaError, OSError) as error:
        log.warning("kafka.offsets_unknown", topic=topic, reason=str(error))
        return False
    finally:
        try:
            await asyncio.wait_for(consumer.stop(), CLOSE_S)
        except (KafkaError, OSError):
            log.warning("kafka.close_failed")
    return bool(ends) and not any(ends.values())
