"""Rejected records and gaps are removed when their days are over, and no others."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import Table, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from actors import retention
from actors.retention import remove_by_age
from actors.shared.settings import Settings
from actors.shared.tables import GAPS, REJECTED
from tests.support.tables import rows

MONTH = Settings(rejected_days=30, gaps_days=30)
JUST_YOUNGER = 29.99
JUST_OLDER = 30.01


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 4)
    monkeypatch.setattr(retention, "PAUSE_S", 0.001)


def at(days_old: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days_old)


async def fill(database: AsyncEngine, ages: Sequence[float]) -> None:
    """Insert a rejected record and a gap of each age in days."""
    rejected = [
        {"digest": str(n), "reason": "made up", "rejection": b"", "rejected_at": at(age)}
        for n, age in enumerate(ages)
    ]
    gaps = [
        {
            "source": f"r2z2:{n % 2}",  # one half of the key alone doesn't name a gap
            "first_position": n // 2,
            "last_position": n,
            "reason": "absent",
            "recorded_at": at(age),
        }
        for n, age in enumerate(ages)
    ]
    async with database.begin() as connection:
        await connection.execute(insert(REJECTED), rejected)
        await connection.execute(insert(GAPS), gaps)


async def left(database: AsyncEngine) -> tuple[list[int], list[int]]:
    """Give what is left of `fill`, of each table."""
    digests = [int(row["digest"]) for row in await rows(database, REJECTED)]
    gaps = [row["last_position"] for row in await rows(database, GAPS)]
    return sorted(digests), sorted(gaps)


def removed(table: Table) -> float:
    labels = {"table": table.name}
    return REGISTRY.get_sample_value("killstream_records_removed_total", labels) or 0.0


async def test_what_is_older_is_removed_in_batches_and_counted(database: AsyncEngine) -> None:
    await fill(database, [JUST_OLDER, JUST_YOUNGER, 0] + [400] * 10)
    before = removed(REJECTED), removed(GAPS)
    await remove_by_age(database, MONTH)
    assert await left(database) == ([1, 2], [1, 2])
    assert (removed(REJECTED), removed(GAPS)) == (before[0] + 11, before[1] + 11)
    await remove_by_age(database, MONTH)
    assert (removed(REJECTED), removed(GAPS)) == (before[0] + 11, before[1] + 11)


async def test_each_has_its_own_days_and_zero_days_remove_nothing(sqlite: AsyncEngine) -> None:
    await fill(sqlite, [4000, 20])
    await remove_by_age(sqlite, Settings(rejected_days=0, gaps_days=30))
    assert await left(sqlite) == ([0, 1], [1])
    await remove_by_age(sqlite, Settings(rejected_days=10, gaps_days=0))
    assert await left(sqlite) == ([], [1])


async def test_several_at_once_count_each_row_once(database: AsyncEngine) -> None:
    await fill(database, [400] * 30 + [0])
    before = removed(REJECTED)
    async with asyncio.timeout(20):
        await asyncio.gather(*(remove_by_age(database, MONTH) for _ in range(3)))
        await remove_by_age(database, MONTH)  # one that met the others' rows may have left some
    assert await left(database) == ([30], [30])
    assert removed(REJECTED) == before + 30


@pytest.mark.service
async def test_a_record_that_is_being_retried_is_left_alone(postgresql: AsyncEngine) -> None:
    await fill(postgresql, [400, 400])
    async with postgresql.begin() as connection:
        retried = select(REJECTED).where(REJECTED.c.digest == "0").with_for_update()
        await connection.execute(retried)
        async with asyncio.timeout(10):
            await remove_by_age(postgresql, MONTH)
        assert (await left(postgresql))[0] == [0]


async def test_one_message_works_for_a_limited_time(
    sqlite: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "WORKS_FOR_S", 0.0)
    await fill(sqlite, [400] * 10)
    await remove_by_age(sqlite, MONTH)
    assert [len(kind) for kind in await left(sqlite)] == [6, 6]
