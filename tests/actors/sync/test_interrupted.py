"""A sync that is interrupted ends with the reason in the schedule, and goes on where it was."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, update

from actors.esi import client as esi_module
from actors.esi.errors import TokenRejected
from actors.resources import Resources
from actors.shared.tables import TOKENS, USER_KILLMAILS, USERS
from actors.sync import pages as pages_module
from actors.sync.character import sync_character
from actors.sync.run import begin_run, extend_run, finish_run, postpone_run
from actors.sync.subject import Subject
from deploy.standin.server import Standin
from tests.actors.sync.rig import calls, fetch_and_store, listed_of, references, user
from tests.support.esi import run, set_faults
from tests.support.login import characters, log_in
from tests.support.tables import rows


async def test_a_sync_that_is_interrupted_goes_on_where_it_was(
    opened: Resources, upstream: Standin, busy: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, pages = esi_module.Esi.ask, []

    async def fails_on_page_2(self: Any, request: Any, read: Any) -> Any:
        pages.append(request.path.rpartition("=")[2])
        if request.path.endswith("recent?page=2") and pages.count("2") == 1:
            set_faults(upstream, esi_error_rate=1.0)
        return await real(self, request, read)

    monkeypatch.setattr(esi_module.Esi, "ask", fails_on_page_2)
    await run(sync_character, busy)
    row = await user(opened)
    assert (row["first_synced_at"], row["next_page"]) == (None, 2)
    assert row["last_sync_error"]
    set_faults(upstream)
    await run(sync_character, busy)
    assert pages.count("1") == 1
    assert {r.killmail_id for r in references()} == listed_of(upstream, busy)
    assert (await user(opened))["first_synced_at"] is not None


async def test_one_run_at_a_time(opened: Resources, upstream: Standin, busy: int) -> None:
    async with opened.database.begin() as connection:
        running = {"sync_started_at": datetime.now(UTC)}
        await connection.execute(update(USERS).values(running))
    await run(sync_character, busy)
    assert calls(upstream, "character_recent") == 0


async def test_a_run_of_a_process_that_died_is_replaced(
    opened: Resources, upstream: Standin, busy: int
) -> None:
    async with opened.database.begin() as connection:
        died = {"sync_started_at": datetime.now(UTC) - timedelta(minutes=11)}
        await connection.execute(update(USERS).values(died))
    await run(sync_character, busy)
    assert references()


async def test_a_spent_budget_postpones_the_sync(opened: Resources, upstream: Standin) -> None:
    many = characters(upstream)[0]
    await log_in(opened.keeper, many)
    for _ in range(20):
        await run(sync_character, many, True)
    row = await user(opened)
    assert "budget is spent" in row["last_sync_error"]
    assert row["next_sync_at"] > datetime.now(UTC)
    assert upstream.playback.stats.refused["char-killmail"] == 0


async def test_a_revoked_token_ends_the_sync_and_asks_for_a_login(
    opened: Resources, upstream: Standin, busy: int
) -> None:
    async with opened.database.begin() as connection:
        await connection.execute(update(USERS).values(expires_at=datetime.now(UTC)))
    set_faults(upstream, sso_fail_next=1, sso_error="token")
    await run(sync_character, busy)
    row = await user(opened)
    assert (row["state"], row["next_sync_at"]) == ("login_required", None)


async def test_a_token_that_esi_rejects_is_refreshed(
    opened: Resources, upstream: Standin, busy: int
) -> None:
    async with opened.database.begin() as connection:
        unknown = {"access_token": opened.keeper.vault.encrypt("not ESI's")}
        await connection.execute(update(TOKENS).values(unknown))
    await run(sync_character, busy)
    row = await user(opened)
    assert row["expires_at"] <= datetime.now(UTC)
    assert row["next_sync_at"] <= datetime.now(UTC) + timedelta(minutes=1)
    await run(sync_character, busy)
    assert references()


async def test_an_incremental_sync_that_is_interrupted_goes_on_to_the_end(
    opened: Resources, upstream: Standin, busy: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(sync_character, busy)
    await fetch_and_store()
    async with opened.database.begin() as connection:  # as if all were new
        await connection.execute(delete(USER_KILLMAILS))
    real, pages = esi_module.Esi.ask, []

    async def fails_on_page_2(self: Any, request: Any, read: Any) -> Any:
        pages.append(request.path.rpartition("=")[2])
        if pages == ["1", "2"]:
            set_faults(upstream, esi_error_rate=1.0)
        return await real(self, request, read)

    monkeypatch.setattr(esi_module.Esi, "ask", fails_on_page_2)
    await run(sync_character, busy)
    assert (await user(opened))["next_page"] == 2
    set_faults(upstream)
    await run(sync_character, busy)
    assert pages.count("1") == 1
    assert len(await rows(opened.database, USER_KILLMAILS)) == len(listed_of(upstream, busy))
    assert (await user(opened))["next_page"] == 1


async def test_a_scope_that_was_not_granted_is_said_and_not_asked_for(
    opened: Resources, upstream: Standin, busy: int
) -> None:
    async with opened.database.begin() as connection:
        await connection.execute(update(USERS).values(scopes="publicData"))
    await run(sync_character, busy)
    row = await user(opened)
    assert "log in again with the scope `character`" in row["last_sync_error"]
    assert row["next_sync_at"] is None
    assert calls(upstream, "character_recent") == 0
    await log_in(opened.keeper, busy)
    await run(sync_character, busy)
    assert (await user(opened))["last_sync_error"] is None


async def test_a_new_token_that_esi_rejects_too_is_not_renewed_each_minute(
    opened: Resources, upstream: Standin, busy: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def rejects(*_: Any, **__: Any) -> Any:
        raise TokenRejected("ESI rejects the token")

    monkeypatch.setattr(pages_module, "recent_killmails", rejects)
    await run(sync_character, busy)
    await run(sync_character, busy)
    assert (await user(opened))["next_sync_at"] > datetime.now(UTC) + timedelta(minutes=55)


async def test_a_run_that_was_replaced_changes_nothing(
    opened: Resources, upstream: Standin, busy: int
) -> None:
    subject = Subject("character", busy, busy)
    slow = await begin_run(opened.database, subject, False)
    assert slow is not None
    async with opened.database.begin() as connection:
        stuck = {"sync_started_at": datetime.now(UTC) - timedelta(minutes=11)}
        await connection.execute(update(USERS).values(stuck))
    await run(sync_character, busy)
    before = await user(opened)
    await extend_run(opened.database, slow, datetime.now(UTC), 7)
    await postpone_run(opened.database, slow, "late", timedelta(days=9), 7)
    await finish_run(opened.database, slow, 99)
    assert await user(opened) == before


async def test_an_unexpected_error_leaves_the_sync_to_the_retried_message(
    opened: Resources, upstream: Standin, busy: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(pages_module, "recent_killmails", breaks)
        with pytest.raises(ZeroDivisionError):
            await run(sync_character, busy)
    await run(sync_character, busy)
    assert (await user(opened))["first_synced_at"] is not None


async def test_a_login_that_is_required_begins_no_run(
    opened: Resources, upstream: Standin, busy: int
) -> None:
    async with opened.database.begin() as connection:
        await connection.execute(update(USERS).values(state="login_required"))
    await run(sync_character, busy)
    assert calls(upstream, "character_recent") == 0
    assert (await user(opened))["sync_started_at"] is None


async def test_keys_that_cannot_decrypt_postpone_the_sync(
    opened: Resources, upstream: Standin, busy: int
) -> None:
    async with opened.database.begin() as connection:
        await connection.execute(update(TOKENS).values(access_token=b"of another key"))
    await run(sync_character, busy)
    row = await user(opened)
    assert "TOKEN_KEYS" in row["last_sync_error"]
    assert (row["state"], row["sync_started_at"]) == ("active", None)
