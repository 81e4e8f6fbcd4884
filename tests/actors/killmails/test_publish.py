"""Publishing: each entry reaches topic and channel whole, is marked, and never forgotten."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer
from broadcaster._base import Subscriber

from actors.killmails import publish as publish_module
from actors.killmails.append import append_imported_day
from actors.killmails.persist import persist, read, store
from actors.killmails.publish import sweep
from actors.resources import Resources, open_resources
from actors.shared.feed import CHANNEL
from actors.shared.killmail import entity_ids, parse_killmail
from actors.shared.reference import encode_reference
from actors.shared.settings import Settings
from actors.shared.tables import KILLMAILS, UNPUBLISHED
from actors.shared.topics import STORED
from deploy.standin.server import Standin
from tests.support.esi import opened_resources, run, sent, set_faults, standin
from tests.support.feed import decode_killmail
from tests.support.made import LATER, a_body, a_reference
from tests.support.servers import empty_servers
from tests.support.tables import feed_of, rows
from tests.support.topics import consumer_of, take


@pytest.fixture(autouse=True)
def _empty_queues() -> Iterator[None]:
    yield
    sent("esi")


@pytest.fixture
async def upstream() -> AsyncIterator[Standin]:
    async with standin(50) as started:
        yield started


@asynccontextmanager
async def opened_on_servers(upstream: Standin, **changes: Any) -> AsyncIterator[Resources]:
    async with empty_servers() as settings:
        chosen = settings.model_copy(update={"esi_url": upstream.url, **changes})
        async with open_resources(chosen) as resources:
            yield resources


@pytest.fixture
async def opened(upstream: Standin) -> AsyncIterator[Resources]:
    async with opened_on_servers(upstream) as resources:
        yield resources


@pytest.fixture
async def topic(opened: Resources) -> AsyncIterator[AIOKafkaConsumer]:
    async with consumer_of(STORED, opened.settings) as consumer:
        yield consumer


@pytest.fixture
def _sweeps_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish_module, "SWEEP_AFTER", timedelta(0))


def played(upstream: Standin) -> list[bytes]:
    """Give references with all that the stand-in plays."""
    return [
        encode_reference(a_reference(one.body, i, zkb=msgspec.Raw(one.zkb)))
        for i, one in enumerate(upstream.dataset.killmails)
    ]


async def unpublished(opened: Resources) -> list[int]:
    return [row["sequence"] for row in await rows(opened.database, UNPUBLISHED)]


@pytest.mark.service
async def test_the_topic_gets_each_entry_whole_under_its_key(
    opened: Resources, upstream: Standin, topic: AIOKafkaConsumer
) -> None:
    await run(persist, played(upstream))
    messages = await take(topic, 50)
    feed = {sequence: (id_, kind) for sequence, id_, kind in await feed_of(opened.database)}
    by_id = {one.killmail_id: one for one in upstream.dataset.killmails}
    seen = set()
    for message in messages:
        shape, entry = msgspec.json.decode(message.value), decode_killmail(message.value)
        assert shape.keys() == {
            "v", "feed_id", "sequence", "kind", "killmail_id", "hash", "stored_at", "names", "zkb",
            "killmail",
        }  # fmt: skip
        given = by_id[entry.killmail_id]
        assert message.key == str(entry.killmail_id).encode()
        assert (shape["v"], feed[entry.sequence]) == (1, (entry.killmail_id, "added"))
        assert (entry.hash, entry.kind) == (given.killmail_hash, "added")
        assert (bytes(entry.killmail), bytes(entry.zkb)) == (given.body, given.zkb)
        seen.add(entry.sequence)
    assert seen == set(feed)


@pytest.mark.service
async def test_the_channel_gets_the_same_entries_as_the_topic(
    opened: Resources, upstream: Standin, topic: AIOKafkaConsumer
) -> None:
    async with opened.events.subscribe(CHANNEL) as subscriber:
        await run(persist, played(upstream))
        lines = sorted(await pushed(subscriber))
    assert lines == sorted(message.value for message in await take(topic, 50))


async def pushed(subscriber: Subscriber) -> list[bytes]:
    """Receive the entries of one message of the channel."""
    message = ""  # an empty one says that the connection is new
    async with asyncio.timeout(10):
        while not message:
            message = (await subscriber.get()).message
    return message.encode().split(b"\n")


@pytest.mark.service
async def test_what_was_published_is_marked(opened: Resources, upstream: Standin) -> None:
    await run(persist, played(upstream))
    assert await unpublished(opened) == []


@pytest.mark.service
async def test_what_came_twice_is_published_once(
    opened: Resources, upstream: Standin, topic: AIOKafkaConsumer
) -> None:
    for _ in range(2):
        await run(persist, played(upstream))
    await run(persist, [encode_reference(a_reference(a_body(1)))])
    sequences = [decode_killmail(m.value).sequence for m in await take(topic, 51)]
    assert sorted(sequences) == list(range(1, 52))


@pytest.mark.service
async def test_a_killmail_without_zkb_is_published_without_zkb(
    opened: Resources, topic: AIOKafkaConsumer
) -> None:
    await run(persist, [encode_reference(a_reference(a_body(1)))])
    (message,) = await take(topic, 1)
    assert "zkb" not in msgspec.json.decode(message.value)


@pytest.mark.service
async def test_an_update_is_published_as_such(opened: Resources, topic: AIOKafkaConsumer) -> None:
    for as_of, zkb in ((1.0, b'{"points":1}'), (LATER, b'{"points":2}')):
        await run(
            persist, [encode_reference(a_reference(a_body(1), as_of=as_of, zkb=msgspec.Raw(zkb)))]
        )
    entries = [decode_killmail(message.value) for message in await take(topic, 2)]
    assert [(e.sequence, e.kind, bytes(e.zkb)) for e in entries] == [
        (1, "added", b'{"points":1}'),
        (2, "updated", b'{"points":2}'),
    ]


@pytest.mark.service
@pytest.mark.usefixtures("_sweeps_at_once")
async def test_an_imported_day_is_one_entry_without_a_killmail(
    opened: Resources, topic: AIOKafkaConsumer
) -> None:
    await store(opened.database, *read([encode_reference(a_reference(a_body(1)))]))
    async with opened.events.subscribe(CHANNEL) as subscriber:
        async with opened.database.begin() as connection:
            day = date(2015, 3, 1)
            await append_imported_day(connection, day, "everef", added=7, total=9)
        await run(sweep)
        *_, line = await pushed(subscriber)
    messages = {message.key: message.value for message in await take(topic, 2)}
    shape = msgspec.json.decode(messages[b""])
    assert shape.pop("feed_id") == decode_killmail(messages[b"1"]).feed_id
    assert shape.pop("stored_at") == pytest.approx(time.time(), abs=60)
    assert shape == {
        "v": 2, "sequence": 2, "kind": "imported", "day": "2015-03-01", "source": "everef",
        "added": 7, "total": 9,
    }  # fmt: skip
    assert line == messages[b""]
    assert await unpublished(opened) == []


@pytest.mark.service
async def test_names_come_along(
    opened: Resources, upstream: Standin, topic: AIOKafkaConsumer
) -> None:
    await run(persist, played(upstream))
    for message in await take(topic, 50):
        entry = decode_killmail(message.value)
        assert set(entry.names) == entity_ids(parse_killmail(entry.killmail))
        assert all(entry.names.values())


@pytest.mark.service
async def test_without_esi_in_time_it_is_published_without_names(upstream: Standin) -> None:
    set_faults(upstream, esi_latency_ms=20_000)
    async with (
        opened_on_servers(upstream, names_deadline_ms=50) as opened,
        consumer_of(STORED, opened.settings) as topic,
    ):
        await run(persist, played(upstream))
        assert await unpublished(opened) == []
        entries = [decode_killmail(message.value) for message in await take(topic, 50)]
        assert [entry.names for entry in entries] == [{}] * 50
        (later,) = sent("esi")
        wanted = set().union(*(entity_ids(parse_killmail(e.killmail)) for e in entries))
        assert (later.actor_name, set(later.args[0])) == ("resolve_names", wanted)


@pytest.mark.service
@pytest.mark.usefixtures("_sweeps_at_once")
async def test_what_a_crash_left_unpublished_is_published_by_the_sweep(
    opened: Resources, upstream: Standin, topic: AIOKafkaConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish_module, "SWEEP_ENTRIES", 20)
    values = played(upstream)
    await run(persist, values[:5])
    left = await store(opened.database, *read(values[5:]))
    assert await unpublished(opened) == list(range(6, 51))
    await run(sweep)
    assert await unpublished(opened) == []
    published = {e.sequence: e for e in (decode_killmail(m.value) for m in await take(topic, 50))}
    assert sorted(published) == list(range(1, 51))
    for one in left:
        entry, wanted = published[one.entry.sequence], one.entry
        assert (entry.killmail_id, entry.kind, entry.hash, bytes(entry.killmail)) == (
            wanted.killmail_id, wanted.kind, wanted.hash, bytes(wanted.killmail),
        )  # fmt: skip
        assert entry.stored_at == pytest.approx(wanted.stored_at, abs=1e-5)
        assert msgspec.json.decode(entry.zkb) == msgspec.json.decode(wanted.zkb)
        assert one.killmail
        assert set(entry.names) == entity_ids(one.killmail)


@pytest.mark.service
async def test_the_sweep_leaves_alone_what_is_being_published(
    opened: Resources, upstream: Standin
) -> None:
    await store(opened.database, *read(played(upstream)))
    await run(sweep)
    assert len(await unpublished(opened)) == 50


@pytest.mark.service
@pytest.mark.usefixtures("_sweeps_at_once")
async def test_one_sweep_at_a_time(opened: Resources, upstream: Standin) -> None:
    await store(opened.database, *read(played(upstream)))
    async with publish_module._sweeping:
        await run(sweep)
        assert len(await unpublished(opened)) == 50
    await run(sweep)
    assert await unpublished(opened) == []


@pytest.mark.usefixtures("_sweeps_at_once")
async def test_what_could_not_be_pushed_stays_stored_and_unpublished(
    upstream: Standin, tmp_path: Path
) -> None:
    nobody = "redis://127.0.0.1:1"
    settings = Settings(data_dir=tmp_path, esi_url=upstream.url, names_deadline_ms=0)
    async with opened_resources(settings.model_copy(update={"redis_url": nobody})) as opened:
        await run(persist, played(upstream))  # no failure: a retry would find nothing to do
        assert len(await rows(opened.database, KILLMAILS)) == 50
        assert len(await unpublished(opened)) == 50
    async with opened_resources(settings) as opened:
        await run(sweep)
        assert await unpublished(opened) == []
