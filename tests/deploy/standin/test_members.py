"""ESI's routes that need a token: recent killmails and roles."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import msgspec
import pytest

from deploy.standin.characters import Character
from tests.deploy.standin.conftest import NOON, Answer, Client, Clock, Start
from tests.deploy.standin.recent import authorize, recent
from tests.deploy.standin.shapes import check

ALL = 10_000
"""More days than any dataset here spans."""


def director(client: Client) -> Character:
    """Choose a director whose corporation has other members."""
    characters = client.standin.playback.characters
    return next(
        one
        for one in characters.all(ALL)
        if one.is_director and len(characters.members(one.corporation_id)) > 1
    )


def killmails_of(client: Client, key: str, entity_id: int) -> list[tuple[int, int]]:
    """Find time and id of an entity's killmails by a plain search, newest first."""
    found = []
    for played in client.standin.dataset.killmails:
        body = msgspec.json.decode(played.body)
        if entity_id in {who.get(key) for who in [body["victim"], *body["attackers"]]}:
            found.append((played.killed_at_s, played.killmail_id))
    return sorted(found, reverse=True)


def listed(answer: Answer) -> list[int]:
    assert answer.status == 200
    return [one["killmail_id"] for one in answer.json()]


async def test_recent_killmails_of_a_character_are_its_kills_and_losses(start: Start) -> None:
    client = await start(synthetic=300, recent_days=ALL)
    first, *_ = client.standin.playback.characters.all(1)
    wanted = killmails_of(client, "character_id", first.character_id)
    answer = await recent(client, first.character_id)
    check(answer.body, "CharactersCharacterIdKillmailsRecentGet")
    assert listed(answer) == [id_ for _, id_ in wanted]
    assert len(wanted) > 1
    assert answer.headers["X-Pages"] == "1"
    for one in answer.json():
        found = client.standin.dataset.killmails.find(one["killmail_id"])
        assert found is not None
        assert one["killmail_hash"] == found.killmail_hash


async def test_pages_hold_each_killmail_once_and_the_next_is_404(start: Start) -> None:
    client = await start(synthetic=300, recent_days=ALL, recent_page_size=2)
    first, *_ = client.standin.playback.characters.all(1)
    wanted = killmails_of(client, "character_id", first.character_id)
    pages = int((await recent(client, first.character_id)).headers["X-Pages"])
    assert pages == -(-len(wanted) // 2) > 1
    found = []
    for page in range(1, pages + 1):
        found += listed(await recent(client, first.character_id, params={"page": page}))
    assert found == [id_ for _, id_ in wanted]
    beyond = await recent(client, first.character_id, params={"page": pages + 1})
    assert beyond.status == 404
    check(beyond.body, "Error")


@pytest.mark.parametrize("page", ["0", "-1", "x", "", "9" * 30])
async def test_a_page_that_is_none_is_400(start: Start, page: str) -> None:
    client = await start()
    first, *_ = client.standin.playback.characters.all(1)
    assert (await recent(client, first.character_id, params={"page": page})).status == 400


async def a_killmail_a_day(start: Start, newest_s: float) -> Client:
    """Start one that has a killmail of each of 100 days, all out."""
    begins_at = datetime.fromtimestamp(newest_s, UTC) - timedelta(days=99)
    return await start(
        synthetic=100, rate_per_s=1 / 86_400, begins_at=begins_at, released_before_s=100 * 86_400
    )


@pytest.mark.parametrize("age_d", [0, 300])
async def test_ninety_days_count_from_the_newest_killmail_of_an_old_dataset(
    start: Start, age_d: int
) -> None:
    newest_s = NOON - age_d * 86_400
    client = await a_killmail_a_day(start, newest_s)
    assert max(one.killed_at_s for one in client.standin.dataset.killmails) == newest_s
    since_s = newest_s - 90 * 86_400
    for index in (8, 9, 50):
        body = msgspec.json.decode(client.standin.dataset.killmails[index].body)
        character_id = next(
            who["character_id"]
            for who in [body["victim"], *body["attackers"]]
            if "character_id" in who
        )
        wanted = killmails_of(client, "character_id", character_id)
        answer = await recent(client, character_id)
        assert listed(answer) == [id_ for killed_at_s, id_ in wanted if killed_at_s >= since_s]
        assert (body["killmail_id"] in listed(answer)) is (index >= 9)


async def test_ninety_days_count_from_now_when_the_newest_killmail_is_of_later(
    start: Start, clock: Clock
) -> None:
    client = await a_killmail_a_day(start, NOON + 5 * 86_400)
    body = msgspec.json.decode(client.standin.dataset.killmails[4].body)
    character_id = next(
        who["character_id"] for who in [body["victim"], *body["attackers"]] if "character_id" in who
    )
    assert body["killmail_id"] in listed(await recent(client, character_id))
    clock.now_s += 86_400
    assert body["killmail_id"] not in listed(await recent(client, character_id))


async def test_a_list_stands_for_five_minutes_and_has_what_is_out_then(
    start: Start, clock: Clock
) -> None:
    client = await start(synthetic=60, rate_per_s=0.1, recent_days=ALL)
    first, *_ = client.standin.playback.characters.all(1)
    wanted = [id_ for _, id_ in killmails_of(client, "character_id", first.character_id)]
    before = await recent(client, first.character_id)
    modified = parsedate_to_datetime(before.headers["Last-Modified"])
    expires = parsedate_to_datetime(before.headers["Expires"])
    assert (modified.timestamp(), expires - modified) == (NOON, timedelta(seconds=300))
    clock.now_s += 299.9
    again = await recent(client, first.character_id)
    assert again.body == before.body
    assert again.headers["Last-Modified"] == before.headers["Last-Modified"]
    clock.now_s = NOON + 600
    assert listed(await recent(client, first.character_id)) == wanted != listed(before)


async def test_a_known_list_is_304_for_one_token(start: Start) -> None:
    client = await start(limits=True)
    first, *_ = client.standin.playback.characters.all(1)
    headers = authorize(client, first.character_id)
    answer = await recent(client, first.character_id, headers=headers)
    for known in (
        {"If-None-Match": answer.headers["ETag"]},
        {"If-Modified-Since": answer.headers["Last-Modified"]},
    ):
        again = await recent(client, first.character_id, headers=headers | known)
        assert (again.status, again.body) == (304, b"")
        assert again.headers["X-Ratelimit-Used"] == "1"


async def test_a_director_gets_the_killmails_of_the_corporation(start: Start) -> None:
    client = await start(synthetic=300, recent_days=ALL, limits=True)
    who = director(client)
    wanted = killmails_of(client, "corporation_id", who.corporation_id)
    answer = await client.get(
        f"/corporations/{who.corporation_id}/killmails/recent",
        headers=authorize(client, who.character_id),
    )
    check(answer.body, "CorporationsCorporationIdKillmailsRecentGet")
    assert listed(answer) == [id_ for _, id_ in wanted]
    assert answer.headers["X-Ratelimit-Group"] == "corp-killmail"
    assert answer.headers["X-Ratelimit-Limit"] == "30/15m"


async def test_who_is_no_director_or_no_member_is_refused(start: Start) -> None:
    client = await start(synthetic=300, limits=True)
    who = director(client)
    characters = client.standin.playback.characters
    member = next(one for one in characters.members(who.corporation_id) if not one.is_director)
    stranger = next(one for one in characters.all(ALL) if one.corporation_id != who.corporation_id)

    async def ask(character_id: int) -> Answer:
        headers = authorize(client, character_id)
        return await client.get(
            f"/corporations/{who.corporation_id}/killmails/recent", headers=headers
        )

    no_role = await ask(member.character_id)
    assert no_role.status == 403
    assert no_role.json() == {"error": "Character does not have required role(s)"}
    assert no_role.headers["X-Ratelimit-Used"] == "5"
    away = await ask(stranger.character_id)
    assert (away.status, away.json()) == (403, {"error": "Character is not in the corporation"})
    await client.switch(esi_not_director=[who.character_id])
    assert (await ask(who.character_id)).json() == no_role.json()
    await client.switch(esi_not_director=[], esi_moved={str(who.character_id): 98_000_000})
    assert (await ask(who.character_id)).json() == away.json()


async def test_roles_say_who_is_a_director(start: Start) -> None:
    client = await start(synthetic=300, limits=True)
    who = director(client)
    path = f"/characters/{who.character_id}/roles"
    headers = authorize(client, who.character_id)
    answer = await client.get(path, headers=headers)
    check(answer.body, "CharactersCharacterIdRolesGet")
    assert answer.json()["roles"] == ["Director"]
    assert answer.headers["X-Ratelimit-Limit"] == "600/15m"
    assert answer.headers["Cache-Control"] == "public, max-age=3600"
    known = headers | {"If-None-Match": answer.headers["ETag"]}
    assert (await client.get(path, headers=known)).status == 304
    await client.switch(esi_not_director=[who.character_id])
    lost = await client.get(path, headers=known)
    assert (lost.status, lost.json()["roles"]) == (200, [])
