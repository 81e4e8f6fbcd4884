"""Topics that somebody deletes while we run are said and created again."""

import asyncio
from typing import Final

import structlog

from actors.shared.errors import ServerUnavailable
from actors.shared.settings import Settings
from actors.shared.topics import create_topics

CHECK_EVERY_S: Final = 5.0

log: Final = structlog.get_logger()


async def keep_topics(settings: Settings, check_every_s: float = CHECK_EVERY_S) -> None:
    """Create topics again that are missing; what they held is read again from the ledger.

    Runs until it is cancelled. While Kafka is unavailable it does nothing: who sends and reads
    says so.

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
            log.error("kafka.topics_created_again", topics=created)
