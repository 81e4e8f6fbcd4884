"""The open resources of an actors process, on the actors' event loop."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import aiohttp
from aiokafka import AIOKafkaProducer
from broadcaster import Broadcast
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.esi.client import Esi
from actors.esi.redis_budget import open_budget
from actors.esi.slots import max_in_flight
from actors.names.cache import NameCache
from actors.rabbitmq import check_rabbitmq
from actors.shared.database import check_schema, open_database
from actors.shared.errors import Misconfigured
from actors.shared.events import open_events
from actors.shared.redis_check import check_redis
from actors.shared.settings import Settings
from actors.shared.topics import create_topics, open_producer
from actors.users.tokens import Keeper, open_keeper

REDIS_TIMEOUT_S: Final = 5.0
"""Time limit of one Redis command."""


@dataclass(frozen=True)
class Resources:
    """Opened once per process; all of them belong to the actors' event loop."""

    settings: Settings
    database: AsyncEngine
    events: Broadcast
    producer: AIOKafkaProducer
    http: aiohttp.ClientSession
    redis: Redis | None
    """None when no Redis is configured: its state stays in this process then."""
    esi: Esi
    tokens: Keeper | None = None
    """None when users can't log in here."""
    names: NameCache = field(default_factory=NameCache)
    """Names resolved so far."""

    @property
    def keeper(self) -> Keeper:
        """Return what gives access tokens.

        Raises:
            Misconfigured: users can't log in here.
        """
        if self.tokens is None:
            raise Misconfigured("set KILLSTREAM_EVE_CLIENT_ID and KILLSTREAM_TOKEN_KEYS")
        return self.tokens


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open all resources and close them in reverse order; `resources()` returns them meanwhile."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings, "actors"))
        await check_schema(database)
        await check_redis(settings)
        events = await stack.enter_async_context(open_events(settings))
        await create_topics(settings)
        if settings.rabbitmq_url:
            await check_rabbitmq(settings)
        producer = await stack.enter_async_context(open_producer(settings))
        connector = aiohttp.TCPConnector(limit=max_in_flight(settings) + 4)
        http = await stack.enter_async_context(
            aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        )
        redis = _connect_redis(settings) if settings.redis_url else None
        if redis:
            stack.push_async_callback(redis.aclose)
        esi = Esi(settings, http, open_budget(settings, redis))
        keeper = open_keeper(settings, database, http)
        opened = Resources(settings, database, events, producer, http, redis, esi, keeper)
        stack.push_async_callback(opened.names.close)
        _opened.append(opened)
        stack.callback(_opened.remove, opened)
        yield opened


def _connect_redis(settings: Settings) -> Redis:
    return Redis.from_url(
        settings.redis_url,
        socket_timeout=REDIS_TIMEOUT_S,
        socket_connect_timeout=REDIS_TIMEOUT_S,
    )


_opened: list[Resources] = []


def resources() -> Resources:
    """Return the open resources of this process; only valid within `open_resources`."""
    return _opened[-1]
