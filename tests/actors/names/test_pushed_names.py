"""Names in what is pushed: a killmail after ESI was wrong, and one of a pilot with a new name."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from sqlalchemy import insert

from actors.killmails.persist import persist
from actors.names.resolve import resolve_names
from actors.resources import Resources
from actors.shared.feed import names_of
from actors.shared.reference import encode_reference
from actors.shared.settings import Settings
from actors.shared.tables import NAMES
from actors.shared.topics import STORED
from deploy.standin.server import Standin
from tests.support.esi import opened_resources, run, sent, set_faults, standin
from tests.support.feed import decode_killmail
from tests.support.made import a_body, a_reference, an_attacker
from tests.support.topics import consumer_of, take

PILOT, CORPORATION, SHIP = 2_199_000_001, 98_990_001, 587
VICTIM = {
    "character_id": PILOT,
    "corporation_id": CORPORATION,
    "ship_type_id": SHIP,
    "damage_taken": 1,
}
OTHER = an_attacker(character_id=2_199_000_002, corporation_id=98_990_002, ship_type_id=SHIP)
PLAYERS = {PILOT, CORPORATION, 2_199_000_002, 98_990_002}


@pytest.fixture(autouse=True)
def _empty_queue() -> Iterator[None]:
    yield
    sent("esi")


@pytest.fixture
async def upstream() -> AsyncIterator[Standin]:
    async with standin(1) as started:
        yield started


@pytest.fixture
async def opened(upstream: Standin, tmp_path: Path) -> AsyncIterator[Resources]:
    settings = Settings(esi_url=upstream.url, data_dir=tmp_path, names_deadline_ms=10_000)
    async with opened_resources(settings) as resources:
        yield resources


@pytest.fixture
async def topic(opened: Resources) -> AsyncIterator[AIOKafkaConsumer]:
    async with consumer_of(STORED, opened.settings) as consumer:
        yield consumer


async def pushed_names(topic: AIOKafkaConsumer, killmail_id: int) -> dict[int, str]:
    """Store a killmail of the pilots; give the names that it is pushed with."""
    body = a_body(killmail_id, victim=VICTIM, attackers=[OTHER])
    await run(persist, [encode_reference(a_reference(body, killmail_id))])
    (message,) = await take(topic, 1)
    return decode_killmail(message.value).names


async def test_renamed_pilot(opened: Resources, upstream: Standin, topic: AIOKafkaConsumer) -> None:
    learnt = datetime.now(UTC) - timedelta(days=335)
    row = {"id": PILOT, "name": "Old Name", "category": "character", "checked_at": learnt}
    async with opened.database.begin() as connection:
        await connection.execute(insert(NAMES).values(row))
    set_faults(upstream, renamed={PILOT: "New Name"})
    assert (await pushed_names(topic, 140000001))[PILOT] == "New Name"


async def test_names_refused_for_a_minute(
    opened: Resources, upstream: Standin, topic: AIOKafkaConsumer
) -> None:
    set_faults(upstream, names_refused=True)
    assert PLAYERS.isdisjoint(await pushed_names(topic, 140000001))
    set_faults(upstream)
    (message,) = sent("esi")
    await run(resolve_names, *message.args)
    assert (await pushed_names(topic, 140000002)).keys() >= PLAYERS
    async with opened.database.connect() as connection:
        in_queries = {row.id for row in await connection.execute(names_of(PLAYERS))}
    assert in_queries == PLAYERS
