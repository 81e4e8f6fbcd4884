"""Check the configuration of Redis at start."""

from typing import Final

from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, AuthorizationError, RedisError, ResponseError

from actors.shared.errors import Misconfigured
from actors.shared.outage import one_line
from actors.shared.settings import Settings, masked

TIMEOUT_S: Final = 3.0


async def check_redis(settings: Settings) -> None:
    """Check that Redis accepts a connection; doesn't wait for an unavailable one.

    The scripts of the ESI budget use keys of several slots, which cluster mode doesn't allow.

    Raises:
        Misconfigured: it refuses the password, lacks the database, or is in cluster mode; says
            what to do.
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
            f"{where} refuses the connection: {one_line(error)}; correct KILLSTREAM_REDIS_URL"
        ) from None
    except ResponseError as error:
        if "DB index" in str(error):
            raise Misconfigured(
                f"{where} has no database of that number: correct KILLSTREAM_REDIS_URL"
            ) from None
        return  # it doesn't let us ask
    except (RedisError, OSError):
        return  # its users retry
    if cluster.get("cluster_enabled"):
        raise Misconfigured(
            f"{where} is in cluster mode, which isn't supported: set KILLSTREAM_REDIS_URL to one"
            " that isn't"
        )
