"""All Kafka topics, declared here and created at start.

Keys are the killmail_id as decimal text (empty when unknown), so that one killmail's messages stay
in order. Values are JSON, versioned by `"v"`.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    LeaderNotAvailableError,
    NodeNotReadyError,
    NotControllerError,
    RequestTimedOutError,
    TopicAlreadyExistsError,
    for_code,
)

from actors.shared.errors import KillstreamError, Misconfigured, ServerUnavailable
from actors.shared.killmail import MAX_BODY_BYTES
from actors.shared.metrics import TRUNCATED
from actors.shared.outage import one_line
from actors.shared.settings import Settings
from actors.shared.startup import START_S, when_available

DAY_MS: Final = 24 * 60 * 60 * 1000


@dataclass(frozen=True)
class Topic:
    """One topic. The number of partitions can be increased, not decreased."""

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

for _topic in TOPICS:  # so that the first truncation is a rise, and not a new series
    TRUNCATED.labels(topic=_topic.name)

MAX_MESSAGE_BYTES: Final = 2 * MAX_BODY_BYTES
"""Largest message: the largest body with zkb block and names."""


NO_ERROR: Final = 0
ANSWER_S: Final = 15.0
"""Time limit for listing and creating topics."""
REQUEST_MS: Final = 10_000
"""Time limit of one request; a batch that isn't stored by then fails."""
CLOSE_S: Final = 2.0
TRANSIENT: Final = (
    NotControllerError,
    RequestTimedOutError,
    LeaderNotAvailableError,
    KafkaConnectionError,
    NodeNotReadyError,
)
"""Temporary errors."""


@asynccontextmanager
async def open_producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """Open a producer with `acks="all"`.

    A message that Kafka doesn't store within `REQUEST_MS` fails with a KafkaError. Closing takes at
    most `CLOSE_S`; futures of messages that are pending then are never completed.
    """
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap,
        acks="all",
        max_request_size=MAX_MESSAGE_BYTES,
        max_batch_size=1024 * 1024,
        request_timeout_ms=REQUEST_MS,
    )
    try:
        await producer.start()
        yield producer
    finally:
        with suppress(TimeoutError, KafkaError):
            await asyncio.wait_for(producer.stop(), CLOSE_S)


async def create_topics(settings: Settings, *, wait_s: float = START_S) -> list[str]:
    """Create the missing topics and return their names; existing ones aren't changed.

    Waits for Kafka up to `wait_s`.

    Raises:
        Misconfigured: Kafka refuses a topic; says which and why.
        ServerUnavailable: Kafka didn't answer in time.
    """
    where = f"Kafka at {settings.kafka_bootstrap}"

    def explain(error: Exception) -> KillstreamError | None:
        if not isinstance(error, KafkaError | TimeoutError | OSError):
            return None
        return ServerUnavailable(
            f"{where} can't be used: {one_line(error)}; start it, or correct KILLSTREAM_KAFKA_URL"
        )

    async def create() -> list[str]:
        async with asyncio.timeout(ANSWER_S):
            return await _create_missing(settings)

    return await when_available(where, create, explain, wait_s=wait_s)


@asynccontextmanager
async def open_admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """Open an admin client whose requests have a time limit."""
    admin = AIOKafkaAdminClient(
        bootstrap_servers=settings.kafka_bootstrap, request_timeout_ms=REQUEST_MS
    )
    try:
        await admin.start()
        yield admin
    finally:
        with suppress(TimeoutError, KafkaError):
            await asyncio.wait_for(admin.close(), CLOSE_S)


async def _create_missing(settings: Settings) -> list[str]:
    async with open_admin(settings) as admin:
        existing = set(await admin.list_topics())
        missing = [topic for topic in TOPICS if settings.named(topic.name) not in existing]
        if not missing:
            return []
        answer = await admin.create_topics([_new(topic, settings) for topic in missing])
        _check(answer.topic_errors)
        return [settings.named(topic.name) for topic in missing]


def _new(topic: Topic, settings: Settings) -> NewTopic:
    return NewTopic(
        settings.named(topic.name),
        topic.partitions,
        settings.kafka_replication,
        topic_configs={
            "retention.ms": str(topic.retention_ms),
            "max.message.bytes": str(MAX_MESSAGE_BYTES),
        },
    )


def _check(codes: Iterable[Sequence[Any]]) -> None:
    """Check Kafka's result for each topic: name, error code and, by version, error text.

    Raises:
        KafkaError: a temporary error.
        Misconfigured: Kafka refuses a topic.
    """
    refused = []
    for name, code, *text in codes:
        if code in (NO_ERROR, TopicAlreadyExistsError.errno):  # created by another process
            continue
        error = for_code(code)
        why = " ".join(filter(None, text)) or error.description
        if issubclass(error, TRANSIENT):
            raise error(why)
        refused.append(f"{name} ({error.__name__.removesuffix('Error')}: {why})")
    if refused:
        raise Misconfigured(
            f"Kafka refuses to create {', '.join(refused)}: create it yourself, or correct"
            " KILLSTREAM_KAFKA_REPLICATION or the brokers' policy"
        )
