"""All migrations on a database that 0001 made and that holds something of everything."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.shared.body import unpack_zkb
from actors.shared.database import open_database
from actors.shared.settings import Settings
from actors.shared.tables import (
    ATTACKERS,
    CURSORS,
    FEED,
    FEED_COUNTER,
    KILLMAILS,
    LEDGER,
    METADATA,
    POSTINGS_STATE,
    REJECTED,
    REVISION,
    UNPUBLISHED,
    Utc,
)
from deploy.migrate import Migrated, migrate
from tests.support.servers import fresh_database
from tests.support.tables import rows

THEN = datetime(2026, 1, 7, 12, 0, tzinfo=UTC)
BODY, REFERENCE, REJECTION = b"body", b"reference", b'{"v":1}'


def killmail(killmail_id: int, **columns: Any) -> dict[str, Any]:
    return {
        "killmail_id": killmail_id,
        "killmail_hash": f"{killmail_id:040x}",
        "killmail_time": THEN,
        "solar_system_id": 30_002_537,
        "victim_ship_type_id": 587,
        "victim_damage_taken": 100,
        "attacker_count": 1,
        "body": BODY,
        "as_of": THEN,
        "zkb": None,
    } | columns


ROWS: dict[str, list[dict[str, Any]]] = {
    "killmails": [killmail(1, zkb={"npc": False}), killmail(2)],
    "attackers": [
        {
            "killmail_id": 1,
            "ordinal": 0,
            "damage_done": 100,
            "final_blow": True,
            "security_status": 0.5,
        },
        {
            "killmail_id": 1,
            "ordinal": 1,
            "character_id": 2**31,
            "alliance_id": 99_000_001,
            "ship_type_id": 2**31,
            "damage_done": -(2**31),
            "final_blow": False,
            "security_status": 1e-300,
        },
    ],
    "feed": [
        {"sequence": 1, "killmail_id": 1, "kind": "added", "stored_at": THEN, "told_at": THEN},
        {"sequence": 2, "killmail_id": 2, "kind": "added", "stored_at": THEN, "told_at": None},
    ],
    "names": [{"id": 587, "name": "Rifter", "category": "inventory_type", "checked_at": THEN}],
    "cursors": [{"source": "r2z2:test", "position": 7, "updated_at": THEN}],
    "ledger": [
        {"source": "r2z2:test", "position": 6, "reference": None, "received_at": THEN},
        {"source": "redisq:test/q", "position": 1, "reference": REFERENCE, "received_at": THEN},
    ],
    "rejected": [{"digest": "d", "reason": "why", "letter": REJECTION, "rejected_at": THEN}],
}
"""What the tables of 0001 hold."""


OF_THEN = {
    "told_at": Utc,
    "zkb": sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql"),
}
RENAMED = {"as_of": "body_as_of", "letter": "rejection"}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
async def upgraded(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """Each database in turn, made by 0001, filled, and upgraded."""
    if request.param == "sqlite":
        async with filled_and_upgraded(Settings(data_dir=tmp_path)) as engine:
            yield engine
    else:
        async with (
            fresh_database() as url,
            filled_and_upgraded(Settings(database_url=url)) as engine,
        ):
            yield engine


@asynccontextmanager
async def filled_and_upgraded(settings: Settings) -> AsyncIterator[AsyncEngine]:
    assert await migrate(settings, "0001") == Migrated(None, "0001")
    async with open_database(settings) as engine:
        async with engine.begin() as connection:
            for table, its_rows in ROWS.items():
                await insert(connection, table, its_rows)
            await connection.execute(sa.text("UPDATE feed_counter SET last_sequence = 2"))
        assert await migrate(settings) == Migrated("0001", REVISION)
        yield engine


async def insert(connection: AsyncConnection, table: str, its_rows: list[dict[str, Any]]) -> None:
    now = METADATA.tables[table].c
    for row in its_rows:
        columns = [sa.column(name, _type(now, name)) for name in row]
        await connection.execute(sa.insert(sa.table(table, *columns)), [row])


def _type(now: Any, name: str) -> Any:
    if name in OF_THEN:
        return OF_THEN[name]
    of_column = now[RENAMED.get(name, name)].type
    widened = {sa.Integer: sa.BigInteger(), sa.REAL: sa.Double()}
    return widened.get(type(of_column), of_column)


async def test_killmails_get_a_version_of_each_part(upgraded: AsyncEngine) -> None:
    first, second = await rows(upgraded, KILLMAILS)
    assert (first["body"], first["body_as_of"], first["zkb_as_of"]) == (BODY, THEN, THEN)
    assert (second["body"], second["body_as_of"], second["zkb_as_of"]) == (BODY, THEN, None)
    assert unpack_zkb(first["zkb"]).replace(b" ", b"") == b'{"npc":false}'
    assert second["zkb"] is None


async def test_attackers_are_kept_as_far_as_their_columns_go(upgraded: AsyncEngine) -> None:
    first, second = await rows(upgraded, ATTACKERS)
    assert first == dict.fromkeys(ATTACKERS.c.keys()) | ROWS["attackers"][0]
    assert second == first | ROWS["attackers"][1] | {
        "ship_type_id": None,
        "damage_done": 1 - 2**31,
        "security_status": 0,
    }


async def test_filters_are_incomplete_until_a_repair(upgraded: AsyncEngine) -> None:
    assert [row["complete"] for row in await rows(upgraded, POSTINGS_STATE)] == [False]


async def test_killmails_were_created_with_their_entry(upgraded: AsyncEngine) -> None:
    assert {row["created_at"] for row in await rows(upgraded, KILLMAILS)} == {THEN}
    assert {row["origin"] for row in await rows(upgraded, FEED)} == {"live"}


async def test_entries_without_a_mark_are_unpublished(upgraded: AsyncEngine) -> None:
    assert await rows(upgraded, UNPUBLISHED) == [{"sequence": 2}]
    assert [row["sequence"] for row in await rows(upgraded, FEED)] == [1, 2]
    assert "told_at" not in (await rows(upgraded, FEED))[0]


async def test_the_feed_has_an_id_and_goes_on(upgraded: AsyncEngine) -> None:
    (counter,) = await rows(upgraded, FEED_COUNTER)
    assert counter["last_sequence"] == 2
    assert len(counter["feed_id"]) == 32


async def test_ledger_and_cursors_are_kept(upgraded: AsyncEngine) -> None:
    ledger = {row["source"]: row for row in await rows(upgraded, LEDGER)}
    assert ledger["r2z2:test"] | {"position": 6} == ledger["r2z2:test"]
    assert ledger["redisq:test/q"]["reference"] == REFERENCE
    assert {row["kind"] for row in ledger.values()} == {"received"}
    assert {row["next_try_at"] for row in ledger.values()} == {THEN}
    (cursor,) = await rows(upgraded, CURSORS)
    assert (cursor["position"], cursor["fencing_token"]) == (7, 0)


async def test_rejected_records_are_kept_whole(upgraded: AsyncEngine) -> None:
    (rejected,) = await rows(upgraded, REJECTED)
    assert (rejected["digest"], rejected["reason"]) == ("d", "why")
    assert rejected["rejection"] == REJECTION
