"""A sync lists what ESI has, fetches what is unknown, and ends with its result in the schedule."""

import re
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import update

from actors.esi import client as esi_module
from actors.killmails.fetch import fetch
from actors.killmails.persist import persist, read, store
from actors.resources import Resources
from actors.shared.reference import Reference, decode_reference, encode_reference
from actors.shared.settings import Settings
from actors.shared.tables import (
    CORPORATION_SYNCS,
    FEED,
    KILLMAILS,
    LEDGER,
    TOKENS,
    USER_KILLMAILS,
    USERS,
)
from actors.sync.character import sync_character
from actors.sync.corporation import enroll_corporation, sync_corporation
from actors.sync.schedule import schedule_syncs
from deploy.standin.server import Standin
from tests.support.esi import opened_resources, run, sent, set_faults, standin
from tests.support.login import characters, log_in, with_logins
from tests.support.tables import rows

PAGE = 1


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(esi_module, "BACKOFF_S", (0.01, 0.02, 0.04))


@pytest.fixture(autouse=True)
def _empty_queues() -> Iterator[None]:
    yield
    for queue in ("database", "esi", "sync"):
        sent(queue)


@pytest.fixture
async def upstream() -> AsyncIterator[Standin]:
    async with standin(300, recent_page_size=PAGE, recent_cache_s=0) as started:
        yield started


@pytest.fixture
async def opened(upstream: Standin, tmp_path: Path) -> AsyncIterator[Resources]:
    settings = with_logins(Settings(data_dir=tmp_path), upstream)
    async with opened_resources(settings) as resources:
        yield resources


@pytest.fixture
async def busy(opened: Resources, upstream: Standin) -> int:
    """A character that is logged in and has killmails on three pages at least."""
    character_id = characters(upstream)[0]
    await log_in(opened.keeper, character_id)
    return character_id


async def user(opened: Resources) -> Any:
    (row,) = await rows(opened.database, USERS)
    return row


def listed_of(upstream: Standin, character_id: int) -> set[int]:
    """The killmails in which a character takes part."""
    wanted = b'"character_id":%d' % character_id
    return {
        one.killmail_id
        for one in upstream.dataset.killmails
        if wanted + b"," in one.body or wanted + b"}" in one.body
    }


def references() -> list[Reference]:
    """Take what was sent to `fetch`, in order."""
    messages = sent("esi")
    assert {message.actor_name for message in messages} <= {"fetch"}
    return [decode_reference(value) for message in messages for value in message.args[0]]


async def fetch_and_store() -> None:
    """Do the work that a sync sent."""
    for message in sent("esi"):
        await run(fetch, *message.args)
    for message in sent("database"):
        await run(persist, *message.args)


def killed_at(upstream: Standin) -> Callable[[int], float]:
    times = {one.killmail_id: one.killed_at_s for one in upstream.dataset.killmails}
    return times.__getitem__


def calls(upstream: Standin, endpoint: str) -> int:
    return sum(n for key, n in upstream.playback.stats.requests.items() if key[1] == endpoint)


async def test_the_first_sync_lists_all_pages_newest_first(
    opened: Resources, upstream: Standin, busy: int
) -> None:
    await run(sync_character, busy)
    wanted = listed_of(upstream, busy)
    found = references()
    assert {r.killmail_id for r in found} == wanted
    assert {(r.source, r.position) for r in found} == {
        (f"esi:character/{busy}", killmail_id) for killmail_id in wanted
    }
    assert [r.position for r in found] == sorted(wanted, key=killed_at(upstream), reverse=True)
    assert calls(upstream, "character_recent") == -(-len(wanted) // PAGE)
    row = await user(opened)
    assert (row["last_sync_count"], row["sync_started_at"]) == (len(wanted), None)
    assert row["first_synced_at"] == row["last_killmail_sync_at"]
    assert row["next_sync_at"] - row["last_killmail_sync_at"] == timedelta(minutes=15)


async def test_references_stand_in_the_ledger_until_they_are_stored(
    opened: Resources, upstream: Standin, busy: int
) -> None:
    await run(sync_character, busy)
    assert {row["position"] for row in await rows(opened.database, LEDGER)} == listed_of(
        upstream, busy
    )
    await fetch_and_store()
    assert await rows(opened.database, LEDGER) == []
    stored = await rows(opened.database, KILLMAILS)
    assert {row["killmail_id"] for row in stored} == listed_of(upstream, busy)
    assert {row["origin"] for row in await rows(opened.database, FEED)} == {"sync"}


async def test_an_incremental_sync_ends_at_the_first_page_with_nothing_new(
    opened: Resources, upstream: Standin, busy: int
) -> None:
    await run(sync_character, busy)
    references()
    before = calls(upstream, "character_recent")
    await run(sync_character, busy)
    assert calls(upstream, "character_recent") == before + 1
    assert references() == []
    assert (await user(opened))["last_sync_count"] == 0


async def test_a_full_sync_lists_all_pages_and_fetches_nothing_twice(
    opened: Resources, upstream: Standin, busy: int
) -> None:
    await run(sync_character, busy)
    await fetch_and_store()
    fetched = calls(upstream, "killmail")
    before = calls(upstream, "character_recent")
    await run(sync_character, busy, True)
    assert calls(upstream, "character_recent") - before == before
    await fetch_and_store()
    assert calls(upstream, "killmail") == fetched


async def test_what_the_feed_has_stored_is_listed_and_not_fetched(
    opened: Resources, upstream: Standin, busy: int
) -> None:
    known = min(listed_of(upstream, busy))
    played = upstream.dataset.killmails.find(known)
    assert played is not None
    reference = Reference(
        "r2z2:x", 1, 0.0, known, played.killmail_hash, body=msgspec.Raw(played.body)
    )
    await store(opened.database, read([encode_reference(reference)])[0])
    await run(sync_character, busy)
    assert known not in {r.killmail_id for r in references()}
    assert known in {row["killmail_id"] for row in await rows(opened.database, USER_KILLMAILS)}


async def test_what_two_users_list_is_fetched_once_and_leaves_the_ledger(
    opened: Resources, upstream: Standin
) -> None:
    shared = next(
        one
        for one in upstream.dataset.killmails
        if len(set(re.findall(rb'"character_id":(\d+)', one.body))) > 1
    )
    both = sorted(map(int, set(re.findall(rb'"character_id":(\d+)', shared.body))))[:2]
    for character_id in both:
        await log_in(opened.keeper, character_id)
        await run(sync_character, character_id)
    await fetch_and_store()
    assert await rows(opened.database, LEDGER) == []
    listed = set().union(*(listed_of(upstream, character_id) for character_id in both))
    assert calls(upstream, "killmail") == len(listed)


async def test_a_list_is_not_asked_for_before_it_expires(
    opened: Resources, upstream: Standin, busy: int
) -> None:
    await run(sync_character, busy)
    async with opened.database.begin() as connection:
        later = datetime.now(UTC) + timedelta(minutes=4)
        await connection.execute(update(USERS).values(list_expires_at=later))
    before = calls(upstream, "character_recent")
    await run(sync_character, busy)
    assert calls(upstream, "character_recent") == before
    assert (await user(opened))["last_sync_count"] == 0


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


async def a_director(opened: Resources, upstream: Standin, *, is_director: bool) -> tuple[int, int]:
    """Log a member in; give character and corporation."""
    member = next(
        one for one in upstream.playback.characters.all(300) if one.is_director == is_director
    )
    await log_in(opened.keeper, member.character_id, ("character", "corporation"))
    await run(enroll_corporation, member.character_id)
    return member.character_id, (await user(opened))["corporation_id"]


async def test_a_directors_corporation_is_synchronized(
    opened: Resources, upstream: Standin
) -> None:
    character_id, corporation_id = await a_director(opened, upstream, is_director=True)
    (row,) = await rows(opened.database, CORPORATION_SYNCS)
    assert (row["corporation_id"], row["state"]) == (corporation_id, "active")
    await run(sync_corporation, corporation_id, character_id)
    assert {r.source for r in references()} == {f"esi:corporation/{corporation_id}"}
    (row,) = await rows(opened.database, CORPORATION_SYNCS)
    assert row["last_sync_count"] > 0


async def test_a_member_without_the_role_is_refused_before_the_call(
    opened: Resources, upstream: Standin
) -> None:
    await a_director(opened, upstream, is_director=False)
    (row,) = await rows(opened.database, CORPORATION_SYNCS)
    assert (row["state"], row["next_sync_at"]) == ("refused", None)
    assert "director" in row["state_reason"]
    assert calls(upstream, "corporation_recent") == 0


async def test_a_403_is_final_and_kept_for_the_user(opened: Resources, upstream: Standin) -> None:
    character_id, corporation_id = await a_director(opened, upstream, is_director=True)
    set_faults(upstream, esi_not_director=(character_id,))
    await run(sync_corporation, corporation_id, character_id)
    (row,) = await rows(opened.database, CORPORATION_SYNCS)
    assert (row["state"], row["next_sync_at"]) == ("refused", None)
    assert "required role" in row["state_reason"]


async def test_the_schedule_starts_what_is_due_once(
    opened: Resources, upstream: Standin, busy: int
) -> None:
    await run(schedule_syncs)
    await run(schedule_syncs)
    (message,) = sent("sync")
    assert (message.actor_name, message.args[0]) == ("sync_character", busy)


async def test_the_schedule_starts_first_syncs_first(opened: Resources, upstream: Standin) -> None:
    old, new = characters(upstream)[:2]
    await log_in(opened.keeper, old)
    await run(sync_character, old)
    await log_in(opened.keeper, new)
    async with opened.database.begin() as connection:
        due = {"next_sync_at": datetime.now(UTC) - timedelta(hours=1)}
        await connection.execute(update(USERS).where(USERS.c.character_id == old).values(due))
    references()
    await run(schedule_syncs)
    assert [message.args[0] for message in sent("sync")] == [new, old]
