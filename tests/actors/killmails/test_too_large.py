"""One entry or rejection that can't be published as it is holds up nothing."""

from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer
from sqlalchemy import update

from actors.killmails import publish as publish_module
from actors.killmails.persist import persist, read, store
from actors.killmails.publish import sweep
from actors.killmails.reject import reject
from actors.resources import Resources, open_resources
from actors.shared.feed import CHANNEL, Entry
from actors.shared.killmail import Killmail, entity_ids
from actors.shared.metrics import TRUNCATED
from actors.shared.reference import encode_reference
from actors.shared.rejection import decode_rejection, encode_rejection
from actors.shared.tables import KILLMAILS, REJECTED, UNPUBLISHED
from actors.shared.topics import REJECTED as REJECTED_TOPIC
from actors.shared.topics import STORED
from tests.support.esi import run, sent
from tests.support.feed import decode_killmail
from tests.support.made import a_body, a_reference
from tests.support.servers import empty_servers
from tests.support.tables import rows
from tests.support.topic_limits import create_limited_topics
from tests.support.topics import consumer_of, take

pytestmark = pytest.mark.service
TOO_LARGE_BYTES = 1_200_000


@pytest.fixture
async def opened() -> AsyncIterator[Resources]:
    async with empty_servers() as settings:
        alone = settings.model_copy(
            update={"esi_url": "http://127.0.0.1:9", "names_deadline_ms": 0}
        )
        await create_limited_topics(alone, STORED, REJECTED_TOPIC)
        async with open_resources(alone) as resources:
            yield resources
    sent("esi")


@pytest.fixture
async def topic(opened: Resources) -> AsyncIterator[AIOKafkaConsumer]:
    async with consumer_of(STORED, opened.settings) as consumer:
        yield consumer


def batch(large: int | None = None, zkb: bytes = b'{"points":1}') -> list[bytes]:
    return [
        encode_reference(
            a_reference(
                a_body(i, padding="x" * (TOO_LARGE_BYTES if i == large else 1)),
                i,
                zkb=msgspec.Raw(zkb),
            )
        )
        for i in range(20)
    ]


async def entries_on(topic: AIOKafkaConsumer, count: int = 20) -> dict[int, Entry]:
    entries = [decode_killmail(message.value) for message in await take(topic, count)]
    return {entry.killmail_id: entry for entry in entries}


async def test_an_entry_too_large_for_its_topic_goes_without_its_body(
    opened: Resources, topic: AIOKafkaConsumer
) -> None:
    counted = TRUNCATED.labels(topic=STORED.name)
    before = counted._value.get()
    await run(persist, batch(large=7))
    entries = await entries_on(topic)
    assert {i for i, entry in entries.items() if entry.truncated} == {7}
    assert (bytes(entries[7].killmail), bytes(entries[7].zkb)) == (b"", b'{"points":1}')
    assert all(entry.killmail for i, entry in entries.items() if i != 7)
    assert await rows(opened.database, UNPUBLISHED) == []
    assert counted._value.get() == before + 1


async def test_the_channel_has_it_whole(opened: Resources) -> None:
    async with opened.events.subscribe(CHANNEL) as subscriber:
        await run(persist, batch(large=7)[7:8])
        message = ""  # an empty one says that the connection is new
        while not message:
            message = (await subscriber.get()).message
    assert len(decode_killmail(message).killmail) > TOO_LARGE_BYTES


async def test_an_entry_whose_rest_is_too_large_goes_with_nothing(
    opened: Resources, topic: AIOKafkaConsumer
) -> None:
    zkb = b'{"note":"%b"}' % (b"x" * TOO_LARGE_BYTES)
    await run(persist, batch(zkb=zkb)[:1])
    (entry,) = (await entries_on(topic, 1)).values()
    assert (entry.truncated, bytes(entry.killmail), bytes(entry.zkb)) == (True, b"", b"")


async def test_the_sweep_passes_what_is_too_large(
    opened: Resources, topic: AIOKafkaConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish_module, "SWEEP_AFTER", timedelta(0))
    await store(opened.database, *read(batch(large=0)))
    await run(sweep)
    assert {i for i, entry in (await entries_on(topic)).items() if entry.truncated} == {0}
    assert await rows(opened.database, UNPUBLISHED) == []


async def test_the_sweep_passes_what_can_not_be_read(
    opened: Resources, topic: AIOKafkaConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish_module, "SWEEP_AFTER", timedelta(0))
    await store(opened.database, *read(batch()))
    async with opened.database.begin() as connection:
        broken = update(KILLMAILS).where(KILLMAILS.c.killmail_id == 3)
        await connection.execute(broken.values(body=b"no frame"))
    await run(sweep)
    entries = await entries_on(topic)
    assert {i for i, entry in entries.items() if entry.truncated} == {3}
    assert await rows(opened.database, UNPUBLISHED) == []


async def test_the_sweep_passes_what_breaks_it(
    opened: Resources, topic: AIOKafkaConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ids_of(killmail: Killmail) -> set[int]:
        if killmail.killmail_id == 3:
            raise ZeroDivisionError
        return entity_ids(killmail)

    monkeypatch.setattr(publish_module, "SWEEP_AFTER", timedelta(0))
    monkeypatch.setattr(publish_module, "SWEEP_ENTRIES", 4)
    monkeypatch.setattr(publish_module, "entity_ids", ids_of)
    await store(opened.database, *read(batch()))
    await run(sweep)
    assert set(await entries_on(topic, 19)) == set(range(20)) - {3}
    assert [row["sequence"] for row in await rows(opened.database, UNPUBLISHED)] == [4]


async def test_a_rejection_too_large_for_its_topic_goes_without_its_value(
    opened: Resources,
) -> None:
    values = [b"x", b"y" * TOO_LARGE_BYTES, b"z"]
    rejections = [encode_rejection(f"no {i}", value) for i, value in enumerate(values)]
    await run(reject, rejections)
    async with consumer_of(REJECTED_TOPIC, opened.settings) as consumer:
        read_back = [decode_rejection(message.value) for message in await take(consumer, 3)]
    assert {(r.reason, r.value, r.truncated) for r in read_back} == {
        ("no 0", "x", False), ("no 1", "", True), ("no 2", "z", False),
    }  # fmt: skip
    kept = [row["rejection"] for row in await rows(opened.database, REJECTED)]
    assert sorted(kept) == sorted(rejections)
