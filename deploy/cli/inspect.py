"""Read the state of all servers, for `killstream status`."""

import asyncio
from datetime import UTC, datetime
from typing import Final

from actors.shared.health.database import probe_database
from actors.shared.health.facts import Facts
from actors.shared.health.kafka import probe_kafka
from actors.shared.health.rabbitmq import probe_rabbitmq
from actors.shared.health.redis import probe_redis
from actors.shared.settings import Settings

READ_S: Final = 15.0
"""Time limit of each probe; a server that takes longer is reported as unreachable."""


async def inspect(settings: Settings, *, limit_s: float = READ_S) -> Facts:
    """Probe all servers concurrently. Changes and raises nothing."""
    database, rabbitmq, kafka, redis = await asyncio.gather(
        probe_database(settings, limit_s=limit_s, counts=True),
        probe_rabbitmq(settings, limit_s=limit_s),
        probe_kafka(settings, limit_s=limit_s, lag=True),
        probe_redis(settings, limit_s=limit_s),
    )
    return Facts(datetime.now(UTC), database, rabbitmq, kafka, redis)
