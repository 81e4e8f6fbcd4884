"""What ESI gave comes back: every killmail through both databases."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from numpy import float32
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.dictionary import train
from actors.killmails.persist import read, store
from actors.killmails.recompress import recompress
from actors.shared.body import NO_DICTIONARY, dictionary_of, unpack, unpack_zkb
from actors.shared.database import open_database
from actors.shared.reference import decode_reference
from actors.shared.settings import Settings
from actors.shared.tables import ATTACKERS, KILLMAILS
from deploy.migrate import migrate
from tests.support.killmails import REAL_COUNT, bodies, references
from tests.support.servers import fresh_database
from tests.support.tables import feed_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

VICTIM_COLUMNS = (
    "character_id", "corporation_id", "alliance_id", "faction_id", "ship_type_id", "damage_taken",
)  # fmt: skip
ATTACKER_COLUMNS = {column.name for column in ATTACKERS.columns} - {"killmail_id", "ordinal"}
SOME = 3_000
BATCH = 500


@pytest_asyncio.fixture(
    loop_scope="module",
    scope="module",
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)],
)
async def full(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[AsyncEngine]:
    """All killmails on PostgreSQL, some on SQLite."""
    if request.param == "sqlite":
        async with filled(Settings(data_dir=tmp_path_factory.mktemp("full")), SOME) as engine:
            yield engine
    else:
        async with (
            fresh_database() as url,
            filled(Settings(database_url=url), REAL_COUNT) as engine,
        ):
            yield engine


@asynccontextmanager
async def filled(settings: Settings, count: int) -> AsyncIterator[AsyncEngine]:
    """Make tables and store killmails."""
    await migrate(settings)
    async with open_database(settings) as engine:
        values, stored = itertools.islice(references(), count), 0
        while batch := list(itertools.islice(values, BATCH)):
            arrivals, rejections = read(batch)
            assert not rejections
            await store(engine, arrivals)
            stored += len(batch)
            if stored == SOME // 2:  # the others are stored with the dictionary
                assert await train(engine)
        assert await recompress(engine, pause_s=0) > 0.99 * SOME // 2  # the rest gains too little
        yield engine


def count_of(database: AsyncEngine) -> int:
    return SOME if database.dialect.name == "sqlite" else REAL_COUNT


async def test_every_body_comes_back_byte_for_byte(full: AsyncEngine) -> None:
    given, seen, with_dictionary = bodies(), 0, 0
    blocks = {one.killmail_id: bytes(one.zkb) for one in map(decode_reference, references())}
    async with full.connect() as connection:
        columns = KILLMAILS.c.killmail_id, KILLMAILS.c.body, KILLMAILS.c.zkb
        async for row in await connection.stream(select(*columns)):
            assert unpack(row.body) == given[row.killmail_id]
            assert unpack_zkb(row.zkb) == blocks[row.killmail_id]
            seen += 1
            with_dictionary += dictionary_of(row.body) != NO_DICTIONARY
    assert seen == count_of(full)
    assert with_dictionary > 0.99 * seen


async def test_the_columns_of_every_killmail_are_those_of_its_body(full: AsyncEngine) -> None:
    async with full.connect() as connection:
        async for row in await connection.stream(select(KILLMAILS)):
            body = msgspec.json.decode(unpack(row.body))
            assert {
                "killmail_id": row.killmail_id,
                "killmail_time": f"{row.killmail_time:%Y-%m-%dT%H:%M:%SZ}",
                "solar_system_id": row.solar_system_id,
                "moon_id": row.moon_id,
                "war_id": row.war_id,
                "attackers": row.attacker_count,
                "victim": {name: row._mapping[f"victim_{name}"] for name in VICTIM_COLUMNS},
            } == {
                "killmail_id": body["killmail_id"],
                "killmail_time": body["killmail_time"],
                "solar_system_id": body["solar_system_id"],
                "moon_id": body.get("moon_id"),
                "war_id": body.get("war_id"),
                "attackers": len(body["attackers"]),
                "victim": {name: body["victim"].get(name) for name in VICTIM_COLUMNS},
            }


async def test_every_attacker_is_a_row_with_all_its_fields_in_order(full: AsyncEngine) -> None:
    given, seen, attackers = bodies(), 0, 0
    query = select(ATTACKERS).order_by(ATTACKERS.c.killmail_id, ATTACKERS.c.ordinal)
    async with full.connect() as connection:
        found: list[dict[str, Any]] = []
        result = await connection.stream(query)
        killmail_id = -1
        async for row in result:
            if row.killmail_id != killmail_id:
                assert_attackers(given, killmail_id, found)
                killmail_id, found, seen = row.killmail_id, [], seen + 1
            assert row.ordinal == len(found)
            found.append({name: row._mapping[name] for name in ATTACKER_COLUMNS})
            attackers += 1
        assert_attackers(given, killmail_id, found)
    assert seen == count_of(full)
    assert attackers > seen


def assert_attackers(
    given: dict[int, bytes], killmail_id: int, found: list[dict[str, Any]]
) -> None:
    """Compare with the body, as exactly as the columns are; no field of ESI's is left out."""
    if killmail_id == -1:
        return
    wanted = msgspec.json.decode(given[killmail_id])["attackers"]
    assert {name for attacker in wanted for name in attacker} <= ATTACKER_COLUMNS
    for attacker in (*wanted, *found):
        attacker["security_status"] = float32(attacker["security_status"])
    assert found == [{name: a.get(name) for name in ATTACKER_COLUMNS} for a in wanted]


async def test_every_killmail_has_one_entry_in_the_feed(full: AsyncEngine) -> None:
    feed = await feed_of(full)
    assert [sequence for sequence, _, _ in feed] == list(range(1, count_of(full) + 1))
    assert len({killmail_id for _, killmail_id, _ in feed}) == len(feed)
    assert {kind for _, _, kind in feed} == {"added"}
