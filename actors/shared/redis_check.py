"""What is wrong with a Redis that answers, found at start and said in one line."""

from typing import Final

from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, AuthorizationError, RedisError

from actors.shared.errors import Misconfigured
from actors.shared.outage import one_line
from actors.shared.settings import Settings, masked

TIMEOUT_S: Final = 3.0


async def check_redis(settings: Settings) -> None:
    """Make sure that the Redis in the settings takes us; one that is away isn't waited for.

    The scripts of the ESI budget take keys of several slots at once, which no cluster allows.

    Raises:
        Misconfigured: it refuses our password, or is in cluster mode; says what to do.
    """
    if not settings.redis_url:
        return
    where = f"Redis at {masked(settings.redis_url)}"
    try:
        async with Redis.from_url(
            settings.redis_url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        ) as redis:
            cluster = await redis.info("cluster")
    except (AuthenticationError, AuthorizationError) as error:
        raise Misconfigured(
            f"{where} refuses us: {one_line(error)}; correct KILLSTREAM_REDIS_URL"
        ) from None
    except (RedisError, OSError):
        return  # who needs it waits for it
    if cluster.get("cluster_enabled"):
        raise Misconfigured(
            f"{where} is in cluster mode, which isn't supported: set KILLSTREAM_REDIS_URL to one"
            " that isn't"
        )
