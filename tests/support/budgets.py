"""ESI's budget, in this process and in Redis."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

from redis.asyncio import Redis

from actors.esi.budget import Budget, Terms
from actors.esi.redis_budget import RedisBudget
from tests.support.servers import server_urls

MakeBudget = Callable[[Terms], Budget]


@asynccontextmanager
async def redis_budgets() -> AsyncIterator[MakeBudget]:
    """Each budget has a connection of its own; they share what they count."""
    opened: list[Redis] = []
    name = uuid4().hex

    def make(terms: Terms) -> Budget:
        opened.append(Redis.from_url(server_urls()["redis_url"]))
        return RedisBudget(terms, opened[-1], name)

    yield make
    for redis in opened:
        await redis.aclose()
