"""What is refused is kept whole, once, and published on its topic."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer

from actors.killmails.reject import reject
from actors.resources import Resources
from actors.shared.reference import encode_reference
from actors.shared.rejection import decode_rejection, encode_rejection
from actors.shared.settings import Settings
from actors.shared.tables import LEDGER, REJECTED
from actors.shared.topics import MAX_MESSAGE_BYTES
from actors.shared.topics import REJECTED as TOPIC
from tests.support.esi import opened_resources, run
from tests.support.made import a_body, a_reference
from tests.support.tables import receive, rows
from tests.support.topics import consumer_of, take


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Resources]:
    settings = Settings(data_dir=tmp_path, esi_url="http://127.0.0.1:9")
    async with opened_resources(settings) as resources:
        yield resources


@pytest.fixture
async def topic(opened: Resources) -> AsyncIterator[AIOKafkaConsumer]:
    async with consumer_of(TOPIC, opened.settings) as consumer:
        yield consumer


async def test_a_rejection_becomes_a_row_and_a_message(
    opened: Resources, topic: AIOKafkaConsumer
) -> None:
    refused = encode_rejection("no killmail", b"\xffwhat came", source="r2z2:test", position=7)
    await run(reject, [refused])
    (row,) = await rows(opened.database, REJECTED)
    assert (row["reason"], row["rejection"]) == ("no killmail", refused)
    (message,) = await take(topic, 1)
    assert (message.key, message.value) == (b"", refused)
    assert decode_rejection(message.value).value == "\\xffwhat came"


async def test_the_same_rejection_twice_is_one_row(opened: Resources) -> None:
    refused = encode_rejection("no killmail", b"x")
    await run(reject, [refused, refused])
    await run(reject, [refused])
    assert len(await rows(opened.database, REJECTED)) == 1


async def test_one_value_refused_for_two_reasons_is_two_rows(opened: Resources) -> None:
    await run(reject, [encode_rejection("a", b"x"), encode_rejection("b", b"x")])
    assert len(await rows(opened.database, REJECTED)) == 2


async def test_a_rejection_acks_its_ledger_entry(opened: Resources) -> None:
    await receive(opened.database, "r2z2:test", (6, 7))
    await run(reject, [encode_rejection("no killmail", b"x", source="r2z2:test", position=7)])
    assert [row["position"] for row in await rows(opened.database, LEDGER)] == [6]


async def test_a_rejection_of_what_a_user_may_delay_is_on_no_topic(
    opened: Resources, topic: AIOKafkaConsumer
) -> None:
    """ESI gives a killmail to everybody who has its id and hash."""
    delayed = a_reference(a_body(1), source="esi:character/90000001")
    imported = a_reference(a_body(2), source="zkillboard:character/90000001")
    refused = [
        encode_rejection("ESI answers 422", encode_reference(one), one)
        for one in (delayed, imported)
    ]
    await run(reject, refused)
    await run(reject, [encode_rejection("the last one", b"x")])
    assert len(await rows(opened.database, REJECTED)) == 3
    on_topic = [decode_rejection(message.value) for message in await take(topic, 2)]
    assert [one.killmail_id for one in on_topic] == [2, None]


async def test_a_rejection_too_large_for_the_topic_is_a_row_all_the_same(
    opened: Resources, topic: AIOKafkaConsumer
) -> None:
    large, small = (
        encode_rejection("large", b"x" * MAX_MESSAGE_BYTES),
        encode_rejection("small", b"x"),
    )
    await run(reject, [large, small])
    assert {row["rejection"] for row in await rows(opened.database, REJECTED)} == {large, small}
    on_topic = [decode_rejection(message.value) for message in await take(topic, 2)]
    assert {(r.reason, r.value, r.truncated) for r in on_topic} == {
        ("small", "x", False), ("large", "", True),
    }  # fmt: skip
