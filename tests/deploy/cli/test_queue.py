"""`killstream queue` and `snapshot` change the schedule once, and nothing with --dry-run."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner, Result

from actors.killmails.persist import read, store
from actors.shared.reference import encode_reference
from actors.shared.tables import (
    ALLIANCE_SNAPSHOTS,
    ALLIANCES,
    CHARACTERS,
    CORPORATION_SYNCS,
    CORPORATIONS,
    ESI_LISTS,
    IMPORTS,
    SNAPSHOT_DAYS,
    TYPES,
    USERS,
)
from actors.snapshots.days import mark_changed
from deploy.cli import app
from tests.support.made import a_body, a_reference, an_attacker
from tests.support.tables import rows
from tests.support.users import a_user

DAY = date(2024, 5, 1)


def now() -> datetime:
    return datetime.now(UTC)


async def command(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, arguments)


async def said(*arguments: str) -> str:
    done = await command(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def a_scheduled_user(
    character_id: int, synced_ago: timedelta | None, **changes: Any
) -> dict[str, Any]:
    """Make a user whose next sync is in ten minutes."""
    return a_user(
        character_id,
        **{
            "next_sync_at": now() + timedelta(minutes=10),
            "next_full_sync_at": now() + timedelta(hours=10),
            "last_killmail_sync_at": now() - synced_ago if synced_ago else None,
            "sync_started_at": None,
            "sync_corporation": False,
        }
        | changes,
    )


def a_corporation(corporation_id: int, character_id: int, **changes: Any) -> dict[str, Any]:
    """Make a corporation whose next sync is in ten minutes."""
    return {
        "corporation_id": corporation_id,
        "character_id": character_id,
        "state": "active",
        "created_at": now(),
        "next_sync_at": now() + timedelta(minutes=10),
    } | changes


@pytest.fixture
async def users(database: AsyncEngine) -> None:
    hour, minute = timedelta(hours=1), timedelta(minutes=1)
    async with database.begin() as connection:
        await connection.execute(
            insert(USERS),
            [
                a_scheduled_user(1, hour, sync_corporation=True),
                a_scheduled_user(2, minute),
                a_scheduled_user(3, None, state="login_required", sync_corporation=True),
                a_scheduled_user(4, hour, sync_started_at=now()),
                a_scheduled_user(5, None),
                a_scheduled_user(6, hour, next_sync_at=None),  # ESI refused it
            ],
        )
        await connection.execute(
            insert(CORPORATION_SYNCS),
            [
                a_corporation(98_000_001, 1),
                a_corporation(98_000_002, 1, state="refused", next_sync_at=None),
                a_corporation(98_000_003, 1, next_sync_at=None),
                a_corporation(98_000_004, 2),  # its user doesn't want it
                a_corporation(98_000_005, 3),  # its user has to log in
            ],
        )


async def due(database: AsyncEngine, column: str = "next_sync_at") -> list[int]:
    now = datetime.now(UTC)
    found = await rows(database, USERS)
    return [row["character_id"] for row in found if row[column] and row[column] <= now]


async def due_corporations(database: AsyncEngine) -> list[int]:
    now = datetime.now(UTC)
    found = await rows(database, CORPORATION_SYNCS)
    return [row["corporation_id"] for row in found if (row["next_sync_at"] or now) < now]


@pytest.mark.usefixtures("users")
async def test_users_that_were_not_synced_lately_become_due_once(database: AsyncEngine) -> None:
    dry = await said("queue", "users", "--dry-run")
    assert "would be queued: 2 users, 1 corporations" in dry
    assert await due(database) == []
    output = await said("queue", "users")
    assert "queued: 2 users, 1 corporations" in output
    assert "left as they are: 2 " in output
    assert await due(database) == [1, 5]
    assert await due(database, "next_full_sync_at") == []
    assert await due_corporations(database) == [98_000_001]
    assert "queued: 0 users, 0 corporations" in await said("queue", "users")


@pytest.mark.usefixtures("users")
async def test_force_takes_those_synced_just_now_and_full_all_pages(database: AsyncEngine) -> None:
    assert "queued: 3 users" in await said("queue", "users", "--force", "--full")
    assert await due(database) == await due(database, "next_full_sync_at") == [1, 2, 5]
    assert "queued: 0 users" in await said("queue", "users", "--force", "--full")


async def save(database: AsyncEngine) -> None:
    victim = {"character_id": 90_000_001, "corporation_id": 98_000_001, "alliance_id": 99_000_001}
    attacker = an_attacker(corporation_id=98_000_002, weapon_type_id=2456, ship_type_id=588)
    body = a_body(7, victim=victim | {"damage_taken": 1, "ship_type_id": 587}, attackers=[attacker])
    zkb = msgspec.Raw(b'{"totalValue":5.0}')
    arrivals, _ = read([encode_reference(a_reference(body, zkb=zkb))])
    await store(database, arrivals)


async def test_entities_of_stored_killmails_become_due_once(database: AsyncEngine) -> None:
    await save(database)
    for name, table, ids in (
        ("corporations", CORPORATIONS, [98_000_001, 98_000_002]),
        ("alliances", ALLIANCES, [99_000_001]),
        ("characters", CHARACTERS, [90_000_001]),
        ("types", TYPES, [587, 588, 2456]),
    ):
        key = next(iter(table.primary_key)).name
        assert f"would be queued: {len(ids)} {name}" in await said("queue", name, "--dry-run")
        assert await rows(database, table) == []
        assert f"queued: {len(ids)} {name}" in await said("queue", name)
        stored = await rows(database, table)
        assert [row[key] for row in stored] == ids
        assert all(row["next_refresh_at"] <= datetime.now(UTC) for row in stored)
        again = await said("queue", name)
        assert f"queued: 0 {name}" in again
        assert f"left as they are: {len(ids)} " in again
        async with database.begin() as connection:  # ESI's answer holds for one, for another not
            hour = timedelta(hours=1)
            fresh = update(table).values(next_refresh_at=None, expires_at=now() + hour)
            await connection.execute(fresh)
            old = update(table).where(table.c[key] == ids[0]).values(expires_at=now() - hour)
            await connection.execute(old)
        assert f"queued: 1 {name}" in await said("queue", name)


async def test_list_of_alliances_is_asked_for_when_esi_allows_it(database: AsyncEngine) -> None:
    hour = timedelta(hours=1)
    asked = {"name": "alliances", "requested_at": now() - hour, "updated_at": now() - hour}
    async with database.begin() as connection:
        await connection.execute(insert(ESI_LISTS), asked | {"expires_at": now() + hour})
    await said("queue", "alliances")
    assert (await rows(database, ESI_LISTS))[0]["updated_at"] is not None
    async with database.begin() as connection:
        await connection.execute(update(ESI_LISTS).values(expires_at=now() - hour))
    await said("queue", "alliances")
    assert (await rows(database, ESI_LISTS))[0]["updated_at"] is None


async def test_import_is_requested_once_while_it_runs(database: AsyncEngine) -> None:
    whose = ("queue", "zkillboard", "corporation/98000001")
    assert "would be queued: 1 import" in await said(*whose, "--dry-run")
    assert await rows(database, IMPORTS) == []
    assert "queued: 1 import, of corporation/98000001" in await said(*whose)
    (wanted,) = await rows(database, IMPORTS)
    assert (wanted["entity"], wanted["entity_id"]) == ("corporation", 98_000_001)
    assert "left as it is" in await said(*whose)


@pytest.mark.parametrize("text", ["98000001", "ship/1", "character/", "character/-1", "alliance/0"])
async def test_what_names_no_entity_is_a_wrong_argument(text: str) -> None:
    done = await command("queue", "zkillboard", "--", text)
    assert done.exit_code == 2


async def test_snapshots_of_changed_days_are_computed_once(database: AsyncEngine) -> None:
    await save(database)
    async with database.begin() as connection:
        await mark_changed(connection, {DAY})
    wanted = "1 days, 2 snapshots of corporations"
    dry = await said("snapshot", "corporations", "--dry-run")
    assert f"would be computed: {wanted}" in dry
    assert await rows(database, ALLIANCE_SNAPSHOTS) == []
    assert f"computed: {wanted}" in await said("snapshot", "corporations")
    (snapshot,) = await rows(database, ALLIANCE_SNAPSHOTS)
    assert (snapshot["day"], snapshot["losses"], snapshot["isk_lost"]) == (DAY, 1, 5.0)
    assert (await rows(database, SNAPSHOT_DAYS))[0]["computed_at"] is not None
    assert "computed: 0 days" in await said("snapshot", "alliances")
    one_day = await said("snapshot", "alliances", "--day", str(DAY))
    assert "computed: 1 days, 1 snapshots of alliances" in one_day
    assert await rows(database, ALLIANCE_SNAPSHOTS) == [snapshot]


async def test_day_to_come_is_a_wrong_option() -> None:
    done = await command("snapshot", "alliances", "--day", "9999-01-01")
    assert done.exit_code == 2
