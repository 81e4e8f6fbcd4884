"""What stands on Kafka and comes by Redis is what the AsyncAPI document says."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer
from jsonschema import Draft7Validator
from redis.asyncio import Redis

from actors.killmails.append import append_imported_day
from actors.killmails.persist import persist
from actors.killmails.publish import publish
from actors.killmails.reject import reject
from actors.resources import open_resources, resources
from actors.shared.feed import CHANNEL, decode_entry
from actors.shared.reference import NO_JSON, encode_reference
from actors.shared.rejection import encode_rejection
from actors.shared.settings import Settings
from actors.shared.topics import RECEIVED, REJECTED, STORED, Topic
from streams.worker import send_references
from tests.support.esi import run, sent, standin
from tests.support.made import a_body, a_reference
from tests.support.schemas import document, is_valid
from tests.support.servers import empty_servers
from tests.support.topic_limits import create_limited_topics
from tests.support.topics import consumer_of, take

pytestmark = pytest.mark.service

KILLMAILS = 20
TOO_LARGE_BYTES = 1_200_000


@pytest.fixture
async def opened() -> AsyncIterator[Settings]:
    """Servers whose topics take less than the largest message, and names to be resolved."""
    async with empty_servers() as servers, standin(KILLMAILS) as upstream:
        settings = servers.model_copy(update={"esi_url": upstream.url})
        await create_limited_topics(settings, STORED, REJECTED)
        async with open_resources(settings):
            yield settings
    sent("esi")
    sent("database")


def described(address: str) -> list[tuple[str, dict[str, Any]]]:
    """Give the descriptions of a topic's messages, each with the name of its schema."""
    (channel,) = (one for one in document()["channels"].values() if one["address"] == address)
    messages = [document()["components"]["messages"][name] for name in channel["messages"]]
    return [(one["payload"]["$ref"].rpartition("/")[2], one) for one in messages]


async def assert_described(consumer: AIOKafkaConsumer, topic: Topic, count: int) -> list[Any]:
    """Check key, headers and value of so many messages: each is one of those described."""
    messages = await take(consumer, count)
    for message in messages:
        (said,) = (one for schema, one in described(topic.name) if is_valid(schema, message.value))
        Draft7Validator(said["bindings"]["kafka"]["key"]).validate(message.key.decode())
        Draft7Validator(said["headers"]).validate(dict(message.headers))
    return messages


async def test_references_are_as_described(opened: Settings) -> None:
    whole = [a_reference(a_body(i), i, zkb=msgspec.Raw(b'{"points":1}')) for i in range(3)]
    bare = [msgspec.structs.replace(one, body=NO_JSON, zkb=NO_JSON) for one in whole]
    async with consumer_of(RECEIVED, opened) as consumer:
        await send_references(resources().producer, RECEIVED.name, [*whole, *bare])
        await assert_described(consumer, RECEIVED, 6)


async def test_entries_are_as_described_on_topic_and_channel(opened: Settings) -> None:
    bodies = [a_body(i, padding="x" * (TOO_LARGE_BYTES if i == 3 else 1)) for i in range(9)]
    values = [encode_reference(a_reference(body, i)) for i, body in enumerate(bodies)]
    async with consumer_of(STORED, opened) as consumer, channel_of(opened) as received:
        await run(persist, values)
        async with resources().database.begin() as connection:
            day = await append_imported_day(connection, date(2015, 3, 1), "r2z2", added=1, total=1)
        await publish([day])
        messages = await assert_described(consumer, STORED, 10)
        lines = [*(await received()).split(b"\n"), await received()]
    assert [decode_entry(m.value).truncated for m in messages].count(True) == 1
    payload = document()["components"]["messages"]["entries"]["payload"]
    names = [one["$ref"].rpartition("/")[2] for one in payload["oneOf"]]
    for line in lines:
        assert [is_valid(name, line) for name in names].count(True) == 1
    assert len(lines) == 10


async def test_rejections_are_as_described(opened: Settings) -> None:
    known = a_reference(a_body(1))
    rejections = [
        encode_rejection("no killmail", b"\xffwhat came"),
        encode_rejection("ESI answers 422", encode_reference(known), known),
        encode_rejection("large", b"x" * TOO_LARGE_BYTES),
    ]
    async with consumer_of(REJECTED, opened) as consumer:
        await run(reject, rejections)
        messages = await assert_described(consumer, REJECTED, 3)
    assert {m.key for m in messages} == {b"", b"1"}
    assert len([m for m in messages if re.search(rb'"truncated":true', m.value)]) == 1


@asynccontextmanager
async def channel_of(settings: Settings) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
    """Subscribe to the channel as a foreign program does; give the reader of a message."""
    async with Redis.from_url(settings.redis_url) as redis, redis.pubsub() as subscription:
        await subscription.subscribe(settings.named(CHANNEL))

        async def receive() -> bytes:
            async with asyncio.timeout(10):
                async for message in subscription.listen():
                    if message["type"] == "message":
                        return bytes(message["data"])
            raise AssertionError("the subscription has ended")

        yield receive
