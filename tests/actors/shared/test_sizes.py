"""Sizes and counts of the database: right where they are exact, near where they are estimates."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, text
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.database import open_database, reading
from actors.shared.health import sizes
from actors.shared.health.database import probe_database
from actors.shared.health.facts import Sizes, Unreachable
from actors.shared.health.sizes import count_rows, read_sizes
from actors.shared.settings import Settings
from actors.shared.tables import NAMES, REJECTED
from tests.support.servers import migrated_database
from tests.support.tables import statements

EXACT = 100
PAGE_BYTES = 8192


@pytest.fixture(autouse=True)
def _few_rows_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "EXACT_ROWS", EXACT)


def names(count: int) -> list[dict[str, Any]]:
    now = datetime.now(UTC)
    return [
        {"id": n, "name": f"Name {n}", "category": "x", "checked_at": now} for n in range(count)
    ]


async def fill(database: AsyncEngine, count: int) -> None:
    async with database.begin() as connection:
        await connection.execute(insert(NAMES), names(count))


async def read(database: AsyncEngine, killmails: int = 0) -> Sizes:
    async with reading(database) as connection:
        return await read_sizes(connection, killmails)


async def count(database: AsyncEngine) -> int:
    async with reading(database) as connection:
        return await count_rows(connection, NAMES, NAMES.c.name.is_not(None))


async def test_few_rows_are_counted_and_many_estimated(database: AsyncEngine) -> None:
    await fill(database, EXACT)
    assert await count(database) == EXACT
    async with database.begin() as connection:
        await connection.execute(delete(NAMES))
    await fill(database, 3000)
    if database.dialect.name == "postgresql":
        async with reading(database) as connection:
            await connection.execute(text("ANALYZE names"))
    with statements(database) as said:
        assert await count(database) == pytest.approx(3000, rel=0.1)
    assert [one for one in said if "count(" in one and "LIMIT" not in one] == []


@pytest.mark.service
async def test_a_table_that_was_never_analyzed_has_more_rows_than_are_counted(
    postgresql: AsyncEngine,
) -> None:
    await fill(postgresql, 3000)
    assert EXACT < await count(postgresql) < 10 * 3000


async def test_tables_have_their_sizes_with_indexes_and_a_killmail_its_bytes(
    database: AsyncEngine,
) -> None:
    async with database.begin() as connection:
        row = {"reason": "made up", "rejected_at": datetime.now(UTC)}
        rejected = [row | {"digest": str(n), "rejection": bytes([n]) * 1500} for n in range(90)]
        await connection.execute(insert(REJECTED), rejected)
    found = await read(database, killmails=10)
    assert next(iter(found.tables)) == "rejected"
    assert len(found.tables) == sizes.LARGEST
    rejected_size = found.tables["rejected"]
    assert rejected_size.rows == 90
    assert 90 * 1500 < rejected_size.total_bytes < 3 * 90 * 1500
    assert 4096 <= rejected_size.index_bytes < rejected_size.total_bytes / 2
    assert found.database_bytes >= sum(size.total_bytes for size in found.tables.values())
    assert found.bytes_per_killmail is not None
    assert found.attackers_bytes_per_killmail is not None
    assert 0 < found.attackers_bytes_per_killmail < found.bytes_per_killmail < 10 * PAGE_BYTES
    assert (await read(database, killmails=0)).bytes_per_killmail is None


async def test_a_large_file_is_not_read_for_the_sizes_of_its_tables(
    sqlite: AsyncEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sizes, "DBSTAT_BYTES", 0)
    with statements(sqlite) as said:
        found = await read(sqlite, killmails=10)
    assert (found.tables, found.bytes_per_killmail) == ({}, None)
    assert found.database_bytes >= (tmp_path / "killstream.db").stat().st_size
    assert not [one for one in said if "dbstat" in one.lower() and "compileoption" not in one]


@pytest.mark.service
async def test_a_table_that_is_locked_delays_no_longer_than_the_limit() -> None:
    async with (
        migrated_database() as url,
        open_database(Settings(database_url=url)) as database,
        database.begin() as connection,
    ):
        await connection.execute(text("LOCK TABLE attackers IN ACCESS EXCLUSIVE MODE"))
        began_s = time.monotonic()
        facts = await probe_database(Settings(database_url=url), limit_s=0.5, counts=True)
        assert isinstance(facts, Unreachable)
        assert time.monotonic() - began_s < 1.5
