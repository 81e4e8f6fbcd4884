"""Rate limit of logins for each client, counted in Redis for all gateways, or in this process."""

from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address
from math import ceil
from typing import Final, Self

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from actors.shared.outage import Outage
from actors.shared.settings import Settings

PER_MINUTE: Final = RateLimitItemPerMinute(30)
"""Logins that one client may begin, and as many that it may complete."""
REDIS_S: Final = 1.0
IPV6_PREFIX: Final = 64
"""One client usually has a whole /64 network of IPv6 addresses."""


class LoginLimit:
    """Counts the actions of clients; while Redis is unavailable, each gateway counts by itself."""

    def __init__(self, settings: Settings) -> None:
        self._outage = Outage("Redis, for the limit of logins")
        self._here = MovingWindowRateLimiter(MemoryStorage())
        self._pool: ConnectionPool | None = None
        self._shared: MovingWindowRateLimiter | None = None
        if settings.redis_url:
            self._pool = ConnectionPool.from_url(
                settings.redis_url,
                retry=Retry(NoBackoff(), 0),  # the fallback is this process
                socket_timeout=REDIS_S,
                socket_connect_timeout=REDIS_S,
            )
            storage = RedisStorage(
                "redis://",
                implementation="redispy",
                key_prefix=settings.named("logins"),
                connection_pool=self._pool,  # type: ignore[arg-type] # passed on to redis-py
            )
            self._shared = MovingWindowRateLimiter(storage)

    async def __aenter__(self) -> Self:
        """Connect at first use."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections to Redis."""
        if self._pool is not None:
            await self._pool.aclose()

    async def hit(self, action: str, address: str) -> int | None:
        """Count one action of a client; return the seconds to wait when the limit is reached."""
        network = network_of(address)
        if self._shared is not None:
            try:
                wait_s = await _hit(self._shared, action, network)
            except (RedisError, OSError, TimeoutError) as error:
                self._outage.failed(error)
            else:
                self._outage.worked()
                return wait_s
        return await _hit(self._here, action, network)


async def _hit(limiter: MovingWindowRateLimiter, action: str, network: str) -> int | None:
    if await limiter.hit(PER_MINUTE, action, network):
        return None
    window = await limiter.get_window_stats(PER_MINUTE, action, network)
    return max(1, ceil(window.reset_time - datetime.now(UTC).timestamp()))


def network_of(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or an IPv6 network."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    network = int(parsed) >> (128 - IPV6_PREFIX) << (128 - IPV6_PREFIX)
    return f"{IPv6Address(network)}/{IPV6_PREFIX}"
