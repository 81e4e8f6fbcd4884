"""A delayed killmail is in `delayed` until its time, and nowhere else."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.persist import read, store
from actors.shared.metrics import SKIPPED
from actors.shared.reference import encode_reference
from actors.shared.tables import DELAYED, FEED, KILLMAILS, LEDGER, USER_KILLMAILS, USERS
from actors.users.delay import set_publication_delay
from actors.users.forget import forget_character
from tests.support.made import a_body, a_reference
from tests.support.tables import receive, rows
from tests.support.users import a_user

PILOT, OTHER = 90_000_001, 90_000_002
SOURCE = f"esi:character/{PILOT}"


async def add_user(database: AsyncEngine, character_id: int, delay_h: int) -> None:
    async with database.begin() as connection:
        await connection.execute(
            insert(USERS).values(a_user(character_id, publication_delay_h=delay_h))
        )


async def brings(database: AsyncEngine, character_id: int, killmail_id: int) -> None:
    async with database.begin() as connection:
        await connection.execute(
            insert(USER_KILLMAILS).values(
                character_id=character_id,
                killmail_id=killmail_id,
                source=f"esi:character/{character_id}",
            )
        )


async def arrives(
    database: AsyncEngine,
    killmail_id: int,
    source: str = SOURCE,
    age: timedelta = timedelta(minutes=30),
) -> None:
    """Persist a killmail of a source."""
    await receive(database, source, [killmail_id])
    time = (datetime.now(UTC) - age).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = a_body(killmail_id, killmail_time=time)
    reference = a_reference(body, source=source, position=killmail_id)
    await store(database, *read([encode_reference(reference)]))


async def ids(database: AsyncEngine, table: Any) -> list[int]:
    return [row["killmail_id"] for row in await rows(database, table)]


async def test_is_held_back_and_its_ledger_entry_acked(database: AsyncEngine) -> None:
    await add_user(database, PILOT, 3)
    await brings(database, PILOT, 1)
    await arrives(database, 1)
    assert await ids(database, DELAYED) == [1]
    assert await ids(database, KILLMAILS) == await ids(database, FEED) == []
    assert await rows(database, LEDGER) == []
    (row,) = await rows(database, DELAYED)
    assert row["publish_at"] == row["killmail_time"] + timedelta(hours=3)


async def test_is_stored_when_its_time_has_come(database: AsyncEngine) -> None:
    await add_user(database, PILOT, 3)
    await brings(database, PILOT, 1)
    await arrives(database, 1)
    (row,) = await rows(database, DELAYED)
    async with database.begin() as connection:  # time passes
        await set_publication_delay(connection, PILOT, 0)
    await store(database, *read([row["reference"]]))
    assert await ids(database, KILLMAILS) == await ids(database, FEED) == [1]
    assert await ids(database, DELAYED) == []


async def test_an_old_kill_is_not_delayed(database: AsyncEngine) -> None:
    await add_user(database, PILOT, 3)
    await brings(database, PILOT, 1)
    await arrives(database, 1, age=timedelta(hours=4))
    assert await ids(database, KILLMAILS) == [1]


async def test_the_shortest_delay_holds(database: AsyncEngine) -> None:
    await add_user(database, PILOT, 72)
    await add_user(database, OTHER, 0)
    await brings(database, PILOT, 1)
    await brings(database, OTHER, 1)
    await arrives(database, 1)
    assert await ids(database, KILLMAILS) == [1]


async def test_another_source_publishes_at_once(database: AsyncEngine) -> None:
    await add_user(database, PILOT, 3)
    await brings(database, PILOT, 1)
    await arrives(database, 1)
    await arrives(database, 1, source="r2z2:x")
    assert await ids(database, KILLMAILS) == [1]
    await arrives(database, 1)
    assert await ids(database, DELAYED) == []


async def test_a_shorter_delay_holds_for_what_is_delayed(database: AsyncEngine) -> None:
    await add_user(database, PILOT, 72)
    await brings(database, PILOT, 1)
    await arrives(database, 1)
    async with database.begin() as connection:
        await set_publication_delay(connection, PILOT, 1)
    (row,) = await rows(database, DELAYED)
    assert row["publish_at"] == row["killmail_time"] + timedelta(hours=1)


async def test_what_only_a_deleted_user_brought_is_deleted(database: AsyncEngine) -> None:
    await add_user(database, PILOT, 3)
    await add_user(database, OTHER, 3)
    for killmail_id in (1, 2):
        await brings(database, PILOT, killmail_id)
        await arrives(database, killmail_id)
    await brings(database, OTHER, 2)
    async with database.begin() as connection:
        await forget_character(connection, PILOT)
    assert await ids(database, DELAYED) == [2]


async def test_what_arrives_after_its_user_was_deleted_is_dropped(database: AsyncEngine) -> None:
    await arrives(database, 1)
    for table in (KILLMAILS, FEED, DELAYED):
        assert await ids(database, table) == []
    assert await rows(database, LEDGER) == []


async def test_what_is_held_back_is_not_counted_as_stored_before(database: AsyncEngine) -> None:
    await add_user(database, PILOT, 3)
    await brings(database, PILOT, 1)
    before = SKIPPED._value.get()
    await arrives(database, 1)
    assert SKIPPED._value.get() == before
    await arrives(database, 2, source="r2z2:x")
    await arrives(database, 2, source="r2z2:x")
    assert SKIPPED._value.get() == before + 1
