"""Recent killmails, roles and details, as the stand-in has them, within its limits."""

import asyncio
from datetime import timedelta

import pytest

from actors.esi.affiliations import affiliations_in_halves
from actors.esi.authenticated import Kind, recent_killmails, roles
from actors.esi.budget import KILLMAIL, BudgetClass, Spent
from actors.esi.client import Esi
from actors.esi.details import (
    alliance,
    alliance_corporations,
    alliances,
    corporation,
    item_type,
)
from actors.esi.errors import Forbidden, TokenRejected
from deploy.standin.characters import Character
from deploy.standin.members import CHARACTER_SCOPE, CORPORATION_SCOPE, ROLES_SCOPE
from deploy.standin.server import Standin
from deploy.standin.sso.grants import Bearer
from tests.support.esi import esi_client, set_faults, standin

SCOPES = frozenset({CHARACTER_SCOPE, CORPORATION_SCOPE, ROLES_SCOPE})
DAYS = 10_000
"""More than any dataset here spans."""


def token_of(
    upstream: Standin, owner: int, scopes: frozenset[str] = SCOPES, for_s: float = 600
) -> str:
    """Give a character an access token."""
    playback = upstream.playback
    token = f"token-{owner}-{len(scopes)}-{for_s}"
    bearer = Bearer(owner, scopes, "application")
    playback.grants.give_access_token(token, bearer, playback.now_s() + for_s, playback.now_s())
    return token


def characters(upstream: Standin) -> list[Character]:
    return list(upstream.playback.characters.all(DAYS))


def killmails_of(upstream: Standin, kind: Kind, entity_id: int) -> set[tuple[int, str]]:
    """Find an entity's killmails by a plain search."""
    needle = f'"{kind}_id":{entity_id}'.encode()
    return {
        (played.killmail_id, played.killmail_hash)
        for played in upstream.dataset.killmails
        if any(needle + end in played.body.replace(b" ", b"") for end in (b",", b"}"))
    }


async def all_pages(
    esi: Esi, kind: Kind, entity_id: int, token: str, owner: int
) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    page, pages = 1, 1
    while page <= pages:
        fetched = await recent_killmails(esi, kind, entity_id, page, token=token, owner=owner)
        found += fetched.value or []
        pages = fetched.pages or 1
        page += 1
    return found


async def test_all_pages_of_a_character_and_of_a_directors_corporation() -> None:
    async with standin(300, recent_days=DAYS, recent_page_size=2) as upstream:
        director = next(one for one in characters(upstream) if one.is_director)
        owner, corporation_id = director.character_id, director.corporation_id
        token = token_of(upstream, owner)
        async with esi_client(upstream) as esi:
            found = (await roles(esi, owner, token)).value
            assert found
            assert found.is_director
            own = await all_pages(esi, "character", owner, token, owner)
            corporations = await all_pages(esi, "corporation", corporation_id, token, owner)
    assert set(own) == killmails_of(upstream, "character", owner)
    assert len(own) == len(set(own)) > 0
    assert set(corporations) == killmails_of(upstream, "corporation", corporation_id)


async def test_a_list_that_is_not_modified() -> None:
    async with standin(100, recent_days=DAYS) as upstream, esi_client(upstream) as esi:
        owner = characters(upstream)[0].character_id
        token = token_of(upstream, owner)
        first = await recent_killmails(esi, "character", owner, 1, token=token, owner=owner)
        again = await recent_killmails(
            esi, "character", owner, 1, token=token, owner=owner, etag=first.etag
        )
    assert first.value
    assert (again.value, again.etag) == (None, first.etag)


async def test_each_refusal_of_a_token_or_character() -> None:
    async with standin(300, recent_days=DAYS) as upstream, esi_client(upstream) as esi:
        member = next(one for one in characters(upstream) if not one.is_director)
        owner, home = member.character_id, member.corporation_id

        async def ask(kind: Kind, entity_id: int, token: str) -> None:
            await recent_killmails(esi, kind, entity_id, 1, token=token, owner=owner)

        with pytest.raises(TokenRejected, match="unexpected end of JSON input"):
            await ask("character", owner, "forged")
        with pytest.raises(TokenRejected, match="scope"):
            await ask("character", owner, token_of(upstream, owner, frozenset()))
        with pytest.raises(Forbidden) as forbidden:
            await ask("corporation", home, token_of(upstream, owner))
        assert forbidden.value.reason == "Character does not have required role(s)"
        with pytest.raises(Forbidden) as forbidden:
            await ask("corporation", home + 1, token_of(upstream, owner))
        assert forbidden.value.reason == "Character is not in the corporation"
        await ask("character", owner, token_of(upstream, owner))


async def test_no_owner_ever_spends_more_than_its_budget() -> None:
    async with standin(300, recent_days=DAYS) as upstream, esi_client(upstream) as esi:
        owners = [one.character_id for one in characters(upstream)[:8]]

        async def ask(owner: int) -> None:
            token = token_of(upstream, owner)
            await recent_killmails(esi, "character", owner, 1, token=token, owner=owner)

        outcomes = await asyncio.gather(
            *(ask(owner) for owner in owners * 20), return_exceptions=True
        )
        counted = upstream.control.counted()["buckets"]["char-killmail"]
    assert {type(outcome) for outcome in outcomes} == {type(None), Spent}
    assert counted["refused"] == 0
    assert counted["owners"] == {f"application:{owner}": 26 for owner in owners}


async def test_rejected_tokens_of_many_leave_each_its_own_budget() -> None:
    async with standin(300, recent_days=DAYS) as upstream, esi_client(upstream) as esi:
        owners = [one.character_id for one in characters(upstream)[:6]]
        for owner in owners:  # spends all of the address, which is what ESI counts then
            with pytest.raises(TokenRejected):
                await recent_killmails(esi, "character", owner, 1, token="revoked", owner=owner)
        for owner in owners:
            token = token_of(upstream, owner)
            await recent_killmails(esi, "character", owner, 1, token=token, owner=owner)


async def test_details_of_who_is_in_the_killmails() -> None:
    async with standin(300) as upstream, esi_client(upstream) as esi:
        member = next(one for one in characters(upstream) if one.is_director)
        home = (await corporation(esi, member.corporation_id)).value
        assert home
        assert home.member_count > 0
        known = (await alliances(esi)).value
        assert known
        for alliance_id in known[:3]:
            assert (await alliance(esi, alliance_id)).value
            members = (await alliance_corporations(esi, alliance_id)).value
            assert members
            first = (await corporation(esi, members[0])).value
            assert first
            assert first.alliance_id == alliance_id
        assert (await item_type(esi, 587)).value
        first_time = await corporation(esi, member.corporation_id)
        again = await corporation(esi, member.corporation_id, first_time.etag)
        assert (first_time.value, again.value) == (home, None)
        assert abs(again.expires_at - first_time.expires_at) < timedelta(seconds=2)


async def test_affiliations_without_those_of_unknown_characters() -> None:
    async with standin(300) as upstream, esi_client(upstream) as esi:
        ids = sorted(one.character_id for one in characters(upstream))[:200]
        set_faults(upstream, unknown_ids=(ids[17],))
        found, unknown = [], list[int]()
        async for some, refused in affiliations_in_halves(esi, ids):
            found += some
            unknown += refused
    assert unknown == [ids[17]]
    assert {one.character_id for one in found} == {*ids} - {ids[17]}


async def test_an_import_leaves_the_budget_to_live_killmails() -> None:
    async with standin(60, esi_tokens=60) as upstream:
        wanted = [(one.killmail_id, one.killmail_hash) for one in upstream.dataset.killmails]
        async with esi_client(upstream, esi_killmail_tokens=60) as esi:
            imported = await asyncio.gather(
                *(esi.killmail(*one, BudgetClass.IMPORT) for one in wanted),
                return_exceptions=True,
            )
            assert sum(isinstance(body, bytes) for body in imported) == 10  # 24 tokens, 5 kept
            live = await asyncio.gather(
                *(esi.killmail(*one) for one in wanted), return_exceptions=True
            )
        assert sum(isinstance(body, bytes) for body in live) == 18
        counted = upstream.control.counted()["buckets"][KILLMAIL]
        assert (counted["refused"], counted["highest"]) == (0, 56)


async def test_imports_in_flight_take_no_slot_of_live_killmails() -> None:
    async with standin(2) as upstream, esi_client(upstream, esi_concurrency=1) as esi:
        first, second = [(one.killmail_id, one.killmail_hash) for one in upstream.dataset.killmails]
        await esi.killmail(*first)
        set_faults(upstream, esi_latency_ms=60_000)
        slow = asyncio.create_task(esi.killmail(*first, BudgetClass.IMPORT))
        while upstream.playback.stats.requests["esi", "killmail", 200] < 2:
            await asyncio.sleep(0.01)
        set_faults(upstream)
        async with asyncio.timeout(3):
            await esi.killmail(*second)
        assert not slow.done()
        slow.cancel()
