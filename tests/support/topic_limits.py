"""A topic that takes less than we would send, as an operator's or a provider's may."""

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from actors.shared.settings import Settings
from actors.shared.topics import Topic, open_admin

ONE_MIB = 1024 * 1024


async def limit_topic(settings: Settings, topic: Topic, max_bytes: int = ONE_MIB) -> None:
    """Lower the largest message that Kafka takes on a topic."""
    configs = {"max.message.bytes": str(max_bytes)}
    resource = ConfigResource(ConfigResourceType.TOPIC, settings.named(topic.name), configs=configs)
    async with open_admin(settings) as admin:
        await admin.alter_configs([resource])
