"""Imports from zKillboard: whole, at its pace, resumable, with ESI's text as it was."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from actors.history import imports as module
from actors.history.imports import INCOMPLETE, sync_zkillboard
from actors.history.request import request_import
from actors.history.zkillboard import ESI_KEYS, cut, list_page
from actors.resources import Resources
from actors.shared.body import unpack
from actors.shared.errors import Invalid
from actors.shared.tables import FEED, IMPORTS, KILLMAILS, REJECTED, USER_KILLMAILS
from deploy.standin.server import Standin
from tests.support.esi import run, sent, set_faults, standin
from tests.support.login import characters, log_in
from tests.support.tables import rows

ESI = '{"killmail_id":7,"killmail_time":"2026-01-07T13:37:34Z","victim":{"zkb":{"a":[1]}}}'


@pytest.mark.parametrize(
    "given_",
    [
        ESI,
        ESI[:-1] + ',"zkb":{"hash":"x","labels":["}","\\""]}}',
        '{"zkb":{"hash":"x"},' + ESI[1:],
        ESI[:-1] + ' , "zkb" : null , "new":1.0e5}',
    ],
)
def test_only_the_keys_of_zkillboard_are_cut(given_: str) -> None:
    assert cut(given_) == ESI


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(sorted(ESI_KEYS)) | st.sampled_from(["zkb", "hash", "}"]) | st.text()


@given(st.dictionaries(KEYS, JSON), st.sampled_from([None, 1]), st.booleans())
def test_what_is_left_are_esis_members_as_they_were(
    members: dict[str, Any], indent: int | None, ascii_only: bool
) -> None:
    left = cut(json.dumps(members, indent=indent, ensure_ascii=ascii_only))
    assert json.loads(left) == {k: v for k, v in members.items() if k in ESI_KEYS}
    for key, value in json.loads(left).items():
        if not isinstance(value, list | dict):
            assert f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=ascii_only)}" in left


@given(st.dictionaries(KEYS, JSON, min_size=1), st.data())
def test_text_that_ends_early_or_is_no_object_is_refused(
    members: dict[str, Any], data: st.DataObject
) -> None:
    text = json.dumps(members)
    end = data.draw(st.integers(0, len(text) - 1))
    for wrong in (text[:end], f"[{text}]", f'"{len(text)}"'):
        with pytest.raises((Invalid, ValueError)):
            cut(wrong)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    yield
    for queue in ("database", "esi", "sync"):
        sent(queue)


@pytest.fixture
async def upstream() -> AsyncIterator[Standin]:
    async with standin(300, zkillboard_page_size=2) as started:
        yield started


async def request(opened: Resources, character_id: int) -> None:
    async with opened.database.begin() as connection:
        await request_import(connection, "character", character_id, None)


async def state(opened: Resources) -> Any:
    (row,) = await rows(opened.database, IMPORTS)
    return row


def killmails_of(upstream: Standin, character_id: int) -> dict[int, bytes]:
    wanted = b'"character_id":%d' % character_id
    return {
        one.killmail_id: one.body
        for one in upstream.dataset.killmails
        if wanted + b"," in one.body or wanted + b"}" in one.body
    }


async def test_all_pages_are_imported_with_esis_bytes(opened: Resources, upstream: Standin) -> None:
    character_id = characters(upstream)[0]
    await log_in(opened.keeper, character_id)
    await request(opened, character_id)
    await run(sync_zkillboard)
    wanted = killmails_of(upstream, character_id)
    stored = await rows(opened.database, KILLMAILS)
    assert {row["killmail_id"]: unpack(row["body"]) for row in stored} == wanted
    assert all(row["zkb"] for row in stored)
    assert {row["origin"] for row in await rows(opened.database, FEED)} == {"import"}
    ended = await state(opened)
    assert (ended["state"], ended["killmails"]) == ("done", len(wanted))
    listed = await rows(opened.database, USER_KILLMAILS)
    assert {row["killmail_id"] for row in listed} == wanted.keys()
    assert upstream.playback.stats.requests["esi", "killmail", 200] == 0


async def test_an_import_goes_on_where_its_process_died(
    opened: Resources, upstream: Standin
) -> None:
    await request(opened, characters(upstream)[0])
    async with opened.database.begin() as connection:
        await connection.execute(update(IMPORTS).values(next_page=2))
    await run(sync_zkillboard)
    assert (await state(opened))["state"] == "done"
    assert upstream.playback.stats.requests["zkillboard", "killmails", 200] == 2


async def test_one_import_runs_at_a_time(opened: Resources, upstream: Standin) -> None:
    one, other = characters(upstream)[:2]
    await request(opened, one)
    async with opened.database.begin() as connection:
        leased = {"next_try_at": datetime.now(UTC) + timedelta(minutes=1)}
        await connection.execute(update(IMPORTS).values(leased))
    await request(opened, other)
    await run(sync_zkillboard)
    assert upstream.playback.stats.requests == {}


async def test_one_of_several_processes_takes_an_import(
    opened: Resources, upstream: Standin
) -> None:
    one, other = characters(upstream)[:2]
    await request(opened, one)
    await request(opened, other)
    async with opened.database.begin() as connection:  # as another process that takes the first
        leased = {"next_try_at": datetime.now(UTC) + timedelta(minutes=1)}
        await connection.execute(update(IMPORTS).where(IMPORTS.c.entity_id == one).values(leased))
        claiming = asyncio.create_task(module._claim())
        await asyncio.wait({claiming}, timeout=0.3)
    assert await claiming is None


async def test_the_pace_holds_for_several_processes(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.3)
    await request(opened, characters(upstream)[0])
    began_s = time.monotonic()
    await asyncio.gather(*(run(sync_zkillboard) for _ in range(3)))
    pages = upstream.playback.stats.requests["zkillboard", "killmails", 200]
    assert pages >= 2
    assert time.monotonic() - began_s >= 0.3 * (pages - 1)


@pytest.mark.parametrize("status", [503, 429])
async def test_a_failure_postpones_all_imports(
    opened: Resources, upstream: Standin, status: int
) -> None:
    set_faults(upstream, zkillboard_status=status)
    await request(opened, characters(upstream)[0])
    await run(sync_zkillboard)
    waiting = await state(opened)
    assert waiting["state"] == "running"
    assert str(status) in waiting["state_reason"]
    assert waiting["next_try_at"] > datetime.now(UTC)
    await run(sync_zkillboard)
    assert sum(upstream.playback.stats.requests.values()) == 1


async def test_an_import_beyond_the_last_page_says_that_it_is_incomplete(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PAGE", 1)
    await request(opened, characters(upstream)[0])
    await run(sync_zkillboard)
    ended = await state(opened)
    assert (ended["state"], ended["state_reason"]) == ("done", INCOMPLETE)


async def test_a_second_request_changes_nothing_while_an_import_runs(
    opened: Resources, upstream: Standin
) -> None:
    await request(opened, characters(upstream)[0])
    before = await state(opened)
    await request(opened, characters(upstream)[0])
    assert await state(opened) == before
    await run(sync_zkillboard)
    await request(opened, characters(upstream)[0])
    assert (await state(opened))["state"] == "running"


async def test_an_element_that_is_no_killmail_is_rejected_and_the_others_are_stored(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def with_a_bad_one(*args: Any) -> Any:
        page = await list_page(*args)
        if args[-1] == 1:
            page.refused.append(("not a killmail", b'{"killmail_id":"x"}'))
        return page

    monkeypatch.setattr(module, "list_page", with_a_bad_one)
    character_id = characters(upstream)[0]
    await request(opened, character_id)
    await run(sync_zkillboard)
    assert len(await rows(opened.database, REJECTED)) == 1
    assert len(await rows(opened.database, KILLMAILS)) == len(killmails_of(upstream, character_id))
