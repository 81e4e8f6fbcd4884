"""Topics that take less than we would send, as an operator's or a provider's may."""

from aiokafka.admin import NewTopic

from actors.shared.settings import Settings
from actors.shared.topics import Topic, create_topics, open_admin

ONE_MIB = 1024 * 1024


async def create_limited_topics(
    settings: Settings, *topics: Topic, max_bytes: int = ONE_MIB
) -> None:
    """Create all topics, these with a limit for messages: a later change takes its time."""
    limited = [
        NewTopic(
            settings.named(topic.name),
            topic.partitions,
            settings.kafka_replication,
            topic_configs={"max.message.bytes": str(max_bytes)},
        )
        for topic in topics
    ]
    async with open_admin(settings) as admin:
        answer = await admin.create_topics(limited)
        assert all(code == 0 for _, code, *_ in answer.topic_errors), answer
    await create_topics(settings)
