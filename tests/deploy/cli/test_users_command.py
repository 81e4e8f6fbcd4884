"""`killstream users` shows logins without their secrets, and decides who is a premium user."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner, Result

from actors.shared.tables import TOKENS, USERS
from actors.sync.run import EVERY, EVERY_PREMIUM, begin_run
from actors.sync.subject import Subject
from deploy.cli import app
from tests.support.tables import rows
from tests.support.users import a_user

SECRET = "s3cret"
ACTIVE, LOST, POSTPONED = 90_000_001, 90_000_002, 90_000_003


async def command(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["users", *arguments])


async def said(*arguments: str) -> str:
    done = await command(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


async def log_in(database: AsyncEngine) -> None:
    now = datetime.now(UTC)
    scopes = "esi-killmails.read_killmails.v1"
    users: list[dict[str, Any]] = [
        {"character_id": ACTIVE, "character_name": "Ada_%", "next_sync_at": now},
        {"character_id": LOST, "character_name": "Bob", "state": "login_required"},
        {"character_id": POSTPONED, "character_name": "Cy\x1b[31m"},
    ]
    changes = {
        LOST: {"state_reason": "EVE has revoked it", "next_sync_at": now},
        POSTPONED: {
            "last_killmail_sync_at": now - timedelta(minutes=30),
            "next_sync_at": now + timedelta(hours=3, minutes=1),
            "last_sync_error": "ESI answers 502",
        },
    }
    every = {"owner_hash": SECRET, "scopes": scopes}
    async with database.begin() as connection:
        for user in users:
            values = every | user | changes.get(user["character_id"], {})
            await connection.execute(insert(USERS).values(a_user(**values)))
        token = {"access_token": SECRET.encode(), "refresh_token": SECRET.encode()}
        await connection.execute(
            insert(TOKENS).values(character_id=ACTIVE, updated_at=now, **token)
        )


async def listed(*arguments: str) -> list[str]:
    listing = msgspec.json.decode(await said("list", "--json", *arguments))
    return [user["character_name"] for user in listing["users"]]


async def test_the_list_has_states_syncs_and_reasons_and_no_secret(database: AsyncEngine) -> None:
    assert "no characters" in await said("list")
    await log_in(database)
    shown = await said("list")
    for text in ("Ada_%", "never", "now", "login_required", "30 min ago", "in 3 h", "2 active"):
        assert text in shown, text
    listing = msgspec.json.decode(await said("list", "--json"))
    users = {user["character_id"]: user for user in listing["users"]}
    assert {one: user["reason"] for one, user in users.items()} == {
        ACTIVE: None,
        LOST: "EVE has revoked it",
        POSTPONED: "ESI answers 502",
    }
    assert users[LOST]["next_sync_at"] is None, "it waits for a login"
    assert listing["states"] == {"active": 2, "login_required": 1}
    assert "\x1b[31m" not in shown, "a name doesn't control the terminal"
    assert SECRET not in shown + await said("list", "--json")


async def test_the_list_is_selected_by_name_id_state_and_number(database: AsyncEngine) -> None:
    await log_in(database)
    assert await listed("bo") == ["Bob"]
    assert await listed("_") == ["Ada_%"], "no wildcard"
    assert await listed(str(LOST)) == ["Bob"]
    assert await listed("9" * 30) == []
    assert await listed("--state", "login_required") == ["Bob"]
    assert await listed("--limit", "1") == ["Ada_%"]
    assert "2 more with --limit" in await said("list", "--limit", "1")
    assert await listed("--premium") == []
    await said("premium", str(POSTPONED))
    assert "active, premium" in await said("list")
    assert await listed("--premium") == ["Cy\x1b[31m"]


async def test_a_premium_user_is_synchronized_more_often_until_it_is_off(
    database: AsyncEngine,
) -> None:
    await log_in(database)
    before = await rows(database, USERS)
    assert await said("premium", str(ACTIVE)) == f"Ada_% ({ACTIVE}) is now a premium user\n"
    assert await said("premium", str(ACTIVE)) == f"Ada_% ({ACTIVE}) was already a premium user\n"
    assert await interval(database) == EVERY_PREMIUM
    done = await said("premium", str(ACTIVE), "--off")
    assert done == f"Ada_% ({ACTIVE}) is now an ordinary user\n"
    after = await rows(database, USERS)
    assert [row | {"sync_started_at": None} for row in after] == before, "nothing else changed"


async def test_an_ordinary_user_is_synchronized_less_often(database: AsyncEngine) -> None:
    await log_in(database)
    assert await interval(database) == EVERY


async def interval(database: AsyncEngine) -> timedelta:
    run = await begin_run(database, Subject("character", ACTIVE, ACTIVE), full=False)
    assert run
    return run.interval


async def test_a_character_that_never_logged_in_is_refused(database: AsyncEngine) -> None:
    done = await command("premium", "7")
    assert done.exit_code == 1
    assert "no character 7 has logged in" in " ".join(done.output.split())
    assert (await command("premium", "Bob")).exit_code == 2
    assert (await command("premium", str(2**63))).exit_code == 2
