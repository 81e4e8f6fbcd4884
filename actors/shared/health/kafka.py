"""Ask Kafka for our topics, and what of them is still to be read."""

from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from actors.shared.health.facts import Embedded, KafkaFacts, TopicFacts, Unreachable
from actors.shared.health.probe import quieten, within
from actors.shared.settings import Settings
from actors.shared.topics import RECEIVED, TOPICS

GROUP: Final = "killstream"
"""The consumer group of the streams: the id of the Faust app."""

quieten("aiokafka")


async def probe_kafka(settings: Settings, *, limit_s: float) -> KafkaFacts | Unreachable | Embedded:
    """Count the messages of each topic, and those that the streams have yet to read."""
    if not settings.kafka_url:
        return Embedded()
    return await within(limit_s, _ask(settings, limit_s))


async def _ask(settings: Settings, limit_s: float) -> KafkaFacts:
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
        next_offsets = await _next_offsets(admin, settings.named(GROUP))
    finally:
        await consumer.stop()
        await admin.close()
    names = [settings.named(topic.name) for topic in TOPICS]
    return KafkaFacts({name: _topic(name, begins, ends, next_offsets) for name in names})


async def _partitions(admin: AIOKafkaAdminClient, settings: Settings) -> list[TopicPartition]:
    there = {settings.named(topic.name) for topic in TOPICS} & set(await admin.list_topics())
    return [
        TopicPartition(topic["topic"], partition["partition"])
        for topic in (await admin.describe_topics(sorted(there)) if there else ())
        for partition in topic["partitions"]
    ]


async def _next_offsets(admin: AIOKafkaAdminClient, group: str) -> dict[TopicPartition, int]:
    """Where the streams go on reading; nothing where no group has ever been."""
    try:
        committed = await admin.list_consumer_group_offsets(group)
    except GroupCoordinatorNotAvailableError:
        return {}
    return {partition: place.offset for partition, place in committed.items()}


def _topic(
    name: str,
    begins: dict[TopicPartition, int],
    ends: dict[TopicPartition, int],
    next_offsets: dict[TopicPartition, int],
) -> TopicFacts:
    mine = [partition for partition in ends if partition.topic == name]
    is_read = name.endswith(RECEIVED.name) or not next_offsets.keys().isdisjoint(mine)
    behind = [ends[p] - max(begins[p], next_offsets.get(p, 0)) for p in mine]
    return TopicFacts(
        partitions=len(mine),
        messages=sum(ends[p] - begins[p] for p in mine),
        lag=sum(behind) if is_read else None,
    )
