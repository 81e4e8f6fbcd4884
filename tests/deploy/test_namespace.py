"""A deployment with a namespace uses no name on the shared servers that another one may use."""

from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pika
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from pika.exceptions import ChannelClosedByBroker
from redis.asyncio import Redis

from actors.shared.queues import Queue
from actors.shared.settings import Settings
from deploy.standin.faults import Faults
from tests.support.esi import standin
from tests.support.pipeline import PARTS, pipeline
from tests.support.servers import empty_servers

pytestmark = [pytest.mark.service, pytest.mark.timeout(120)]

NAMESPACE = "killstream-two"  # with a name that empty_servers() deletes
PREFIX = f"{NAMESPACE}."
KILLMAILS = 5


async def test_all_names_on_the_servers_begin_with_the_namespace(tmp_path: Path) -> None:
    without_bodies = Faults(body_wrong=("null",), body_wrong_rate=1.0)  # so that ESI is asked
    async with (
        empty_servers() as servers,
        standin(KILLMAILS, faults=without_bodies) as upstream,
        pipeline(
            servers.model_copy(update={"namespace": NAMESPACE}),
            tmp_path,
            parts=(),
            r2z2_url=upstream.url,
            esi_url=upstream.url,
            r2z2_requests_per_s=100.0,
        ) as pipe,
    ):
        former = await groups_of(servers)
        with queues_deleted(pipe.settings):
            await pipe.start_all(PARTS)
            await pipe.until(lambda published: published >= KILLMAILS, timeout_s=60)
            names = {
                "topics": await topics_of(servers),
                "groups": await used_groups(servers, former),
                "keys": await keys_of(servers),
                "channels": await channels_of(servers),
                "queues": queues_of(servers, servers) + queues_of(servers, pipe.settings),
            }
    assert all(names.values()), names
    assert [name for found in names.values() for name in found if PREFIX not in name] == []
    assert names["queues"] == [PREFIX + queue for queue in Queue]
    assert any("esi" in key for key in names["keys"]), names
    assert any("poll" in key for key in names["keys"]), names


@asynccontextmanager
async def admin_of(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def topics_of(settings: Settings) -> list[str]:
    async with admin_of(settings) as admin:
        return [name for name in await admin.list_topics() if not name.startswith("__")]


async def groups_of(settings: Settings) -> list[str]:
    async with admin_of(settings) as admin:
        return [name for name, _type in await admin.list_consumer_groups()]


async def used_groups(settings: Settings, former: Collection[str]) -> list[str]:
    """Return the groups that are new or have members."""
    used = []
    async with admin_of(settings) as admin:
        for name in await groups_of(settings):  # aiokafka 0.14 can't decode an answer of several
            (answer,) = await admin.describe_consumer_groups([name])
            (group,) = answer.to_object()["groups"]
            assert group["group"] == name
            if group["members"] or name not in former:
                used.append(name)
    return used


async def keys_of(settings: Settings) -> list[str]:
    async with Redis.from_url(settings.redis_url, decode_responses=True) as redis:
        return [key async for key in redis.scan_iter()]


async def channels_of(settings: Settings) -> list[str]:
    async with Redis.from_url(settings.redis_url, decode_responses=True) as redis:
        return [str(name) for name in await redis.pubsub_channels()]


def queues_of(settings: Settings, named: Settings) -> list[str]:
    """Return those of the actors' queues in this namespace that exist."""
    return [queue for name in Queue if exists(settings, queue := named.named(name))]


def exists(settings: Settings, queue: str) -> bool:
    connection = pika.BlockingConnection(pika.URLParameters(settings.rabbitmq_url))
    try:
        connection.channel().queue_declare(queue, passive=True)
    except ChannelClosedByBroker:
        return False
    finally:
        connection.close()
    return True


@contextmanager
def queues_deleted(settings: Settings) -> Iterator[None]:
    """Delete the namespace's queues at the end, which the next test wouldn't find."""
    try:
        yield
    finally:
        connection = pika.BlockingConnection(pika.URLParameters(settings.rabbitmq_url))
        for queue in Queue:
            for name in (queue, f"{queue}.DQ", f"{queue}.XQ"):
                connection.channel().queue_delete(settings.named(name))
        connection.close()
