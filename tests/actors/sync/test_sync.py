"""A sync lists what ESI has and fetches what is unknown."""

import re
from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy import update

from actors.killmails.persist import read, store
from actors.resources import Resources
from actors.shared.reference import Reference, encode_reference
from actors.shared.tables import (
    FEED,
    KILLMAILS,
    LEDGER,
    USER_KILLMAILS,
    USERS,
)
from actors.sync.character import sync_character
from deploy.standin.server import Standin
from tests.actors.sync.rig import (
    PAGE,
    calls,
    fetch_and_store,
    killed_at,
    listed_of,
    references,
    user,
)
from tests.support.esi import run
from tests.support.login import log_in
from tests.support.tables import rows


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
