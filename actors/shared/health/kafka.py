"""Probe Kafka: our topics, and the consumer group's lag."""

from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaConnectionError

from actors.shared.health.facts import Embedded, KafkaFacts, TopicFacts, Unreachable
from actors.shared.health.probe import quieten, within
from actors.shared.settings import Settings
from actors.shared.topics import RECEIVED, TOPICS

GROUP: Final = "killstream"
"""The consumer group of the streams: the id of the Faust app."""

quieten("aiokafka")


async def probe_kafka(
    settings: Settings, *, limit_s: float, lag: bool = False
) -> KafkaFacts | Unreachable | Embedded:
    """Count the messages of each topic.

    Args:
        settings: The Kafka servers.
        limit_s: Time limit.
        lag: Also compute the consumer group's lag. The embedded event log doesn't support the
            request and closes the connection: the lag is None then.
    """
    if not settings.kafka_url:
        return Embedded()
    return await within(limit_s, _ask(settings, limit_s, lag))


async def _ask(settings: Settings, limit_s: float, lag: bool) -> KafkaFacts:
    bootstrap = settings.kafka_bootstrap
    timeout_ms = int(limit_s * 1000)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=timeout_ms)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, request_timeout_ms=timeout_ms)
    try:
        await admin.start()
        await consumer.start()
        partitions = await _partitions(admin, settings)
        begins = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        next_offsets = await _next_offsets(admin, settings.named(GROUP)) if lag else None
    finally:
        await consumer.stop()
        await admin.close()
    names = [settings.named(topic.name) for topic in TOPICS]
    return KafkaFacts({name: _topic(name, begins, ends, next_offsets) for name in names})


async def _partitions(admin: AIOKafkaAdminClient, settings: Settings) -> list[TopicPartition]:
    existing = {settings.named(topic.name) for topic in TOPICS} & set(await admin.list_topics())
    return [
        TopicPartition(topic["topic"], partition["partition"])
        for topic in (await admin.describe_topics(sorted(existing)) if existing else ())
        for partition in topic["partitions"]
    ]


async def _next_offsets(admin: AIOKafkaAdminClient, group: str) -> dict[TopicPartition, int] | None:
    """Return the group's committed offsets: empty without a group, None if unknown."""
    try:
        committed = await admin.list_consumer_group_offsets(group)
    except GroupCoordinatorNotAvailableError:
        return {}
    except KafkaConnectionError:
        return None
    return {partition: committed_at.offset for partition, committed_at in committed.items()}


def _topic(
    name: str,
    begins: dict[TopicPartition, int],
    ends: dict[TopicPartition, int],
    next_offsets: dict[TopicPartition, int] | None,
) -> TopicFacts:
    mine = [partition for partition in ends if partition.topic == name]
    return TopicFacts(
        partitions=len(mine),
        messages=sum(ends[p] - begins[p] for p in mine),
        lag=None if next_offsets is None else _lag(name, begins, ends, next_offsets),
    )


def _lag(
    name: str,
    begins: dict[TopicPartition, int],
    ends: dict[TopicPartition, int],
    next_offsets: dict[TopicPartition, int],
) -> int | None:
    """Return the group's lag; None where it doesn't consume."""
    mine = [partition for partition in ends if partition.topic == name]
    if not name.endswith(RECEIVED.name) and next_offsets.keys().isdisjoint(mine):
        return None
    return sum(ends[p] - max(begins[p], next_offsets.get(p, 0)) for p in mine)
