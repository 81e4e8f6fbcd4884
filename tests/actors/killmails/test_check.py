"""Whatever is damaged is found and repaired: then all that is derived equals a fresh derivation."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.check import run
from actors.killmails.check.inspect import inspect_block
from actors.killmails.check.run import check_all, check_sample
from actors.killmails.persist import read, store
from actors.shared.finding.kinds import BLOCK_BITS, Kind, key_of, term_of
from actors.shared.reference import encode_reference
from actors.shared.tables import (
    ATTACKERS,
    KILLMAIL_DAYS,
    KILLMAILS,
    POSTINGS,
    POSTINGS_STATE,
    REPAIRED_BLOCKS,
)
from tests.support.made import a_body, a_reference, an_attacker
from tests.support.tables import rows

FIRST = 3 * (1 << BLOCK_BITS) - 60
"""The killmails lie in two blocks."""
COUNT = 120
DERIVED = (KILLMAILS, ATTACKERS, KILLMAIL_DAYS)


def references(ids: Sequence[int]) -> list[bytes]:
    made = []
    for killmail_id in ids:
        random_ = random.Random(killmail_id)
        attackers = [
            an_attacker(character_id=random_.randint(1, 9), ship_type_id=random_.randint(1, 3))
            for _ in range(random_.randint(1, 3))
        ]
        zkb = {"totalValue": random_.choice([1e6, 5e8]), "labels": ["pvp", "solo"]}
        body = a_body(killmail_id, attackers=attackers, solar_system_id=random_.randint(1, 2))
        raw = msgspec.Raw(msgspec.json.encode(zkb))
        made.append(encode_reference(a_reference(body, killmail_id, zkb=raw)))
    return made


async def add(database: AsyncEngine, ids: Sequence[int]) -> None:
    await store(database, read(references(ids))[0])


@pytest.fixture
async def stored(database: AsyncEngine) -> AsyncEngine:
    await add(database, range(FIRST, FIRST + COUNT))
    return database


async def content(database: AsyncEngine) -> Any:
    """All that is derived; the order within a row of postings has no meaning."""
    postings = {}
    for row in await rows(database, POSTINGS):
        places = [row["places"][i : i + 2] for i in range(0, len(row["places"]), 2)]
        listed = sorted(zip(places, row["worths"], strict=False))
        postings[row["key"]] = (row["top"], len(row["places"]), listed)
    return postings, [await rows(database, table) for table in DERIVED]


def a_row() -> Any:
    """The condition for one row of postings that lists many."""
    return POSTINGS.c.key == key_of(term_of(Kind.VICTIM_SHIP_TYPE, 587), FIRST + 30)


SURPLUS = key_of(term_of(Kind.WAR, 99), FIRST)

DAMAGES: dict[str, Any] = {
    "row missing": delete(POSTINGS).where(a_row()),
    "place missing": update(POSTINGS)
    .where(a_row())
    .values(places=func.substr(POSTINGS.c.places, 3), worths=func.substr(POSTINGS.c.worths, 2)),
    "wrong code": update(POSTINGS).where(a_row()).values(worths=b"\x01" * 60),
    "wrong top": update(POSTINGS).where(a_row()).values(top=3),
    "half a place": update(POSTINGS).where(a_row()).values(places=b"\x00\x01\x02", worths=b"\x01"),
    "surplus row": insert(POSTINGS).values(key=SURPLUS, top=1, places=b"\x05\x00", worths=b"\x01"),
    "value": update(KILLMAILS).where(KILLMAILS.c.killmail_id == FIRST).values(total_value=2.0),
    "column": update(KILLMAILS).where(KILLMAILS.c.killmail_id == FIRST).values(attacker_count=77),
    "attackers": delete(ATTACKERS).where(ATTACKERS.c.killmail_id == FIRST + 99),
    "attacker": update(ATTACKERS)
    .where(ATTACKERS.c.killmail_id == FIRST + 99)
    .values(character_id=55),
    "surplus attacker": insert(ATTACKERS).values(
        killmail_id=FIRST + 99, ordinal=9, damage_done=1, security_status=0.3, final_blow=False
    ),
    "day": update(KILLMAIL_DAYS).values(first_killmail_id=FIRST + 5),
    "days": delete(KILLMAIL_DAYS),
}


async def test_each_damage_is_found_and_repaired(stored: AsyncEngine) -> None:
    right = await content(stored)
    outcome = await check_all(stored, mend=False)
    assert (outcome.killmails, outcome.differing.total(), outcome.remaining) == (COUNT, 0, 0)
    for name, damage in DAMAGES.items():
        async with stored.begin() as connection:
            await connection.execute(damage)
        assert await content(stored) != right, name
        assert (await check_all(stored, mend=False)).remaining, name
        outcome = await check_all(stored, mend=True)
        assert (bool(outcome.differing.total()), outcome.remaining) == (True, 0), name
        assert await content(stored) == right, name


async def test_a_killmail_listed_for_what_it_is_not_is_taken_out(stored: AsyncEngine) -> None:
    right = await content(stored)
    of_other = key_of(term_of(Kind.ATTACKER_CHARACTER, 5), FIRST + 30)
    async with stored.begin() as connection:
        (row,) = await connection.execute(select(POSTINGS).where(POSTINGS.c.key == of_other))
        listed = {row.places[i : i + 2] for i in range(0, len(row.places), 2)}
        other = next(
            p for i in range(60) if (p := (i + 65_476).to_bytes(2, "little")) not in listed
        )
        longer = {"places": row.places + other, "worths": row.worths + b"\x01"}
        await connection.execute(update(POSTINGS).where(POSTINGS.c.key == of_other).values(longer))
    await check_all(stored, mend=True)
    assert await content(stored) == right


async def test_killmails_of_before_the_upgrade_can_be_found_after_a_repair(
    stored: AsyncEngine,
) -> None:
    right = await content(stored)
    async with stored.begin() as connection:
        for table in (POSTINGS, KILLMAIL_DAYS):
            await connection.execute(delete(table))
        await connection.execute(update(KILLMAILS).values(total_value=None))
        await connection.execute(update(POSTINGS_STATE).values(complete=False))
    outcome = await check_sample(stored, 50)
    found = {name: count for name, count in outcome.differing.items() if count}
    assert 0 < outcome.killmails <= 50
    assert found == dict.fromkeys(("postings", "columns", "days"), outcome.killmails)
    progress: list[tuple[int, float]] = []
    await check_all(stored, mend=True, on_progress=lambda *done: progress.append(done))
    assert progress == [(60, 0.5), (120, 1.0)]
    assert await content(stored) == right
    assert [row["complete"] for row in await rows(stored, POSTINGS_STATE)] == [True]
    assert await rows(stored, REPAIRED_BLOCKS) == []


async def test_an_interrupted_repair_goes_on_where_it_was(
    stored: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = await content(stored)
    async with stored.begin() as connection:
        await connection.execute(delete(POSTINGS))

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await check_all(stored, mend=True, on_progress=interrupt)
    assert [row["block"] for row in await rows(stored, REPAIRED_BLOCKS)] == [2]
    inspected = []

    async def noting(database: AsyncEngine, block: int) -> Any:
        inspected.append(block)
        return await inspect_block(database, block)

    monkeypatch.setattr(run, "inspect_block", noting)
    outcome = await check_all(stored, mend=True)
    assert inspected == [3]
    assert (outcome.killmails, outcome.skipped_blocks) == (60, 1)
    assert await content(stored) == right


async def test_a_restart_repairs_what_was_damaged_since_an_interruption(
    stored: AsyncEngine,
) -> None:
    right = await content(stored)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await check_all(stored, mend=True, on_progress=interrupt)
    async with stored.begin() as connection:
        await connection.execute(delete(POSTINGS))
    outcome = await check_all(stored, mend=True, restart=True)
    assert (outcome.killmails, outcome.skipped_blocks) == (COUNT, 0)
    assert await content(stored) == right


async def test_what_is_stored_beside_a_repair_is_listed_once(stored: AsyncEngine) -> None:
    async with stored.begin() as connection:
        await connection.execute(delete(POSTINGS))
    later = range(FIRST + COUNT, FIRST + 2 * COUNT)

    async def go_on() -> None:
        for start in range(0, COUNT, 10):
            await add(stored, later[start : start + 10])

    await asyncio.gather(check_all(stored, mend=True), go_on())
    outcome = await check_all(stored, mend=False)
    assert (outcome.killmails, outcome.remaining) == (2 * COUNT, 0)


async def test_an_unreadable_body_is_reported_and_left(stored: AsyncEngine) -> None:
    async with stored.begin() as connection:
        of_first = KILLMAILS.c.killmail_id == FIRST
        await connection.execute(update(KILLMAILS).where(of_first).values(body=b"no frame"))
    outcome = await check_all(stored, mend=True)
    assert (outcome.differing["unreadable"], outcome.remaining) == (1, 1)
