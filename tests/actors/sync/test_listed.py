"""A list is recorded whole, before anything is fetched, and once for all who list a killmail."""

import asyncio
from datetime import UTC, datetime, timedelta

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.persist import read, store
from actors.shared.reference import decode_reference, encode_reference
from actors.shared.tables import DELAYED, KILLMAILS, LEDGER, USER_KILLMAILS, USERS
from actors.sync.listed import record_listed, record_sent
from actors.users.forget import forget_character
from tests.support.made import a_body, a_reference
from tests.support.tables import rows
from tests.support.users import a_user

PILOT, OTHER = 90_000_001, 90_000_002
LISTED = [(1, "a" * 40), (2, "b" * 40)]


def source(character_id: int) -> str:
    return f"esi:character/{character_id}"


async def add_user(database: AsyncEngine, character_id: int, delay_h: int = 0) -> None:
    async with database.begin() as connection:
        row = a_user(character_id, publication_delay_h=delay_h)
        await connection.execute(insert(USERS).values(row))


async def persist(database: AsyncEngine, value: bytes) -> None:
    """Store what was fetched for a reference, of a kill half an hour ago."""
    reference = decode_reference(value)
    time = (datetime.now(UTC) - timedelta(minutes=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = a_body(reference.killmail_id, killmail_time=time)
    whole = a_reference(body, source=reference.source, position=reference.position)
    await store(database, *read([encode_reference(whole)]))


async def test_a_killmail_is_fetched_once_for_two_users(database: AsyncEngine) -> None:
    await add_user(database, PILOT)
    await add_user(database, OTHER)
    first = await record_listed(database, source(PILOT), PILOT, LISTED)
    second = await record_listed(database, source(OTHER), OTHER, LISTED)
    assert (first.sent, second.sent) == ([1, 2], [])
    for value in first.references:
        await persist(database, value)
    assert await rows(database, LEDGER) == []
    assert {row["killmail_id"] for row in await rows(database, KILLMAILS)} == {1, 2}


async def test_lists_that_are_recorded_at_once_leave_nothing_in_the_ledger(
    database: AsyncEngine,
) -> None:
    for round_ in range(5):
        listed = [(id_ + 10 * round_, hash_) for id_, hash_ in LISTED]
        users = [PILOT + 10 * round_ + n for n in range(4)]
        for character_id in users:
            await add_user(database, character_id)

        async def synchronize(character_id: int, listed: list[tuple[int, str]] = listed) -> int:
            recorded = await record_listed(database, source(character_id), character_id, listed)
            for value in recorded.references:
                await persist(database, value)
            return len(recorded.references)

        fetched = await asyncio.gather(*map(synchronize, users))
        assert sum(fetched) == len(listed)
    assert await rows(database, LEDGER) == []


async def test_a_shorter_delay_of_a_user_who_lists_later_applies(database: AsyncEngine) -> None:
    await add_user(database, PILOT, 72)
    recorded = await record_listed(database, source(PILOT), PILOT, LISTED[:1])
    await persist(database, recorded.references[0])
    await add_user(database, OTHER, 3)
    later = await record_listed(database, source(OTHER), OTHER, LISTED[:1])
    assert later.references == []
    (row,) = await rows(database, DELAYED)
    assert row["publish_at"] == row["killmail_time"] + timedelta(hours=3)


async def test_nothing_is_recorded_for_a_user_that_was_deleted(database: AsyncEngine) -> None:
    await add_user(database, PILOT)
    async with database.begin() as connection:
        await forget_character(connection, PILOT)
    recorded = await record_listed(database, source(PILOT), PILOT, LISTED)
    assert (recorded.new, recorded.references) == (0, [])
    assert await rows(database, LEDGER) == await rows(database, USER_KILLMAILS) == []


async def test_what_was_not_sent_is_sent_again_within_a_minute(database: AsyncEngine) -> None:
    await add_user(database, PILOT)
    recorded = await record_listed(database, source(PILOT), PILOT, LISTED)
    now = datetime.now(UTC)
    assert all(
        row["next_try_at"] <= now + timedelta(minutes=1) for row in await rows(database, LEDGER)
    )
    await record_sent(database, source(PILOT), recorded.sent[:1])
    one, two = await rows(database, LEDGER)
    assert one["next_try_at"] > now + timedelta(hours=1)
    assert two["next_try_at"] <= now + timedelta(minutes=1)
