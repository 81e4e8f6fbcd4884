"""Every Kafka topic: name, key, value, partitions, retention. Declared here, created at start.

Keys are the killmail_id as decimal text (empty when unknown), so that one killmail's messages stay
in order. Values are JSON, versioned by `"v"`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError

from actors.shared.errors import Misconfigured
from actors.shared.killmail import MAX_BODY_BYTES
from actors.shared.settings import Settings

DAY_MS: Final = 24 * 60 * 60 * 1000


@dataclass(frozen=True)
class Topic:
    """One topic. Partitions can grow, never shrink."""

    name: str
    holds: str
    partitions: int
    retention_ms: int


RECEIVED: Final = Topic("killmails.received", "references as the sources gave them", 4, 2 * DAY_MS)
REJECTED: Final = Topic(
    "killmails.rejected", "what was refused, whole, with the reason", 1, 30 * DAY_MS
)
STORED: Final = Topic(
    "killmails.stored", "entries of the feed, at least once, after their commit", 4, 14 * DAY_MS
)

TOPICS: Final = (RECEIVED, REJECTED, STORED)

MAX_MESSAGE_BYTES: Final = 2 * MAX_BODY_BYTES
"""Largest message: the largest body, with zkb and names around it."""


@asynccontextmanager
async def open_producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """Open a producer whose messages are sent when Kafka has them for good."""
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap,
        acks="all",
        max_request_size=MAX_MESSAGE_BYTES,
        max_batch_size=1024 * 1024,
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def create_topics(settings: Settings) -> None:
    """Create the topics that aren't there; those that are stay as they are.

    Raises:
        Misconfigured: no Kafka answers at the address.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    try:
        await admin.start()
    except KafkaConnectionError as error:
        await admin.close()
        raise Misconfigured(f"no Kafka at {settings.kafka_bootstrap}: {error}") from None
    try:
        missing = {topic.name for topic in TOPICS} - set(await admin.list_topics())
        if missing:
            await admin.create_topics(
                [
                    NewTopic(
                        topic.name,
                        topic.partitions,
                        settings.kafka_replication,
                        topic_configs={
                            "retention.ms": str(topic.retention_ms),
                            "max.message.bytes": str(MAX_MESSAGE_BYTES),
                        },
                    )
                    for topic in TOPICS
                    if topic.name in missing
                ]
            )
    finally:
        await admin.close()
