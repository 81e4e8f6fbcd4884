"""What is refused is kept whole, once, and told on its topic."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from sqlalchemy import insert

from actors.reject import reject
from actors.resources import Resources
from actors.shared.letter import letter, read_letter
from actors.shared.settings import Settings
from actors.shared.tables import LEDGER, REJECTED
from actors.shared.topics import MAX_MESSAGE_BYTES
from actors.shared.topics import REJECTED as TOPIC
from tests.support.esi import opened_resources, run
from tests.support.tables import rows
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


async def test_a_letter_becomes_a_row_and_a_message(
    opened: Resources, topic: AIOKafkaConsumer
) -> None:
    refused = letter("no killmail", b"\xffwhat came", source="r2z2:test", position=7)
    await run(reject, [refused])
    (row,) = await rows(opened.database, REJECTED)
    assert (row["reason"], row["letter"]) == ("no killmail", refused)
    (message,) = await take(topic, 1)
    assert (message.key, message.value) == (b"", refused)
    assert read_letter(message.value).value == "\\xffwhat came"


async def test_the_same_letter_twice_is_one_row(opened: Resources) -> None:
    refused = letter("no killmail", b"x")
    await run(reject, [refused, refused])
    await run(reject, [refused])
    assert len(await rows(opened.database, REJECTED)) == 1


async def test_one_value_refused_for_two_reasons_is_two_rows(opened: Resources) -> None:
    await run(reject, [letter("a", b"x"), letter("b", b"x")])
    assert len(await rows(opened.database, REJECTED)) == 2


async def test_a_letter_settles_its_place(opened: Resources) -> None:
    async with opened.database.begin() as connection:
        await connection.execute(
            insert(LEDGER),
            [
                {"source": "r2z2:test", "position": p, "received_at": datetime.now(UTC)}
                for p in (6, 7)
            ],
        )
    await run(reject, [letter("no killmail", b"x", source="r2z2:test", position=7)])
    assert [row["position"] for row in await rows(opened.database, LEDGER)] == [6]


async def test_a_letter_too_large_for_the_topic_is_a_row_all_the_same(
    opened: Resources, topic: AIOKafkaConsumer
) -> None:
    large, small = letter("large", b"x" * MAX_MESSAGE_BYTES), letter("small", b"x")
    await run(reject, [large, small])
    assert {row["letter"] for row in await rows(opened.database, REJECTED)} == {large, small}
    (message,) = await take(topic, 1)
    assert message.value == small
