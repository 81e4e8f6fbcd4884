"""Probe Redis."""

import asyncio

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from actors.shared.health.facts import Embedded, RedisFacts, Unreachable
from actors.shared.health.probe import within
from actors.shared.settings import Settings


async def probe_redis(settings: Settings, *, limit_s: float) -> RedisFacts | Unreachable | Embedded:
    """Measure a PING and read the version."""
    if not settings.redis_url:
        return Embedded()
    return await within(limit_s, _ask(settings.redis_url, limit_s))


async def _ask(url: str, limit_s: float) -> RedisFacts:
    async with Redis.from_url(
        url,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=limit_s,
        socket_connect_timeout=limit_s,
    ) as redis:
        server = await redis.info("server")
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await redis.execute_command("PING")
        return RedisFacts(str(server["redis_version"]), round((loop.time() - began_s) * 1000, 2))
