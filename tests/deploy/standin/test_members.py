import gzip
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy.standin.census import DOOMHEIM
from deploy.standin.characters import Character
from deploy.standin.members import CHARACTER_SCOPE, CORPORATION_SCOPE, ROLES_SCOPE
from deploy.standin.sso.grants import Bearer
from tests.deploy.standin.conftest import NOON, Answer, Client, Clock, Start
from tests.deploy.standin.shapes import check

SCOPES = frozenset({CHARACTER_SCOPE, CORPORATION_SCOPE, ROLES_SCOPE})
ALL = 10_000
"""More days than any dataset here spans."""

numbers = count(1)


def authorize(
    client: Client,
    character_id: int,
    *,
    scopes: frozenset[str] = SCOPES,
    application: str = "app",
    for_s: float = 86_400,
) -> dict[str, str]:
    """Give the headers of a request that carries a new token."""
    token = f"token-{next(numbers)}"
    playback = client.standin.playback
    now_s = playback.now_s()
    bearer = Bearer(character_id, scopes, application)
    playback.grants.give_access_token(token, bearer, now_s + for_s, now_s)
    return {"Authorization": f"Bearer {token}"}


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


async def recent(client: Client, character_id: int, **options: Any) -> Answer:
    headers = options.pop("headers", None) or authorize(client, character_id)
    return await client.get(
        f"/characters/{character_id}/killmails/recent", headers=headers, **options
    )


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


async def test_fifteen_calls_spend_the_bucket_of_one_character_and_application(
    start: Start, clock: Clock
) -> None:
    client = await start(limits=True, esi_window_s=60)
    one, other = client.standin.playback.characters.all(2)
    headers = authorize(client, one.character_id)
    for left in range(28, -2, -2):
        answer = await recent(client, one.character_id, headers=headers)
        assert answer.status == 200
        assert answer.headers["X-Ratelimit-Group"] == "char-killmail"
        assert answer.headers["X-Ratelimit-Limit"] == "30/1m"
        assert answer.headers["X-Ratelimit-Remaining"] == str(left)
    refused = await recent(client, one.character_id)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "60")
    assert (await recent(client, other.character_id)).status == 200
    elsewhere = authorize(client, one.character_id, application="other")
    assert (await recent(client, one.character_id, headers=elsewhere)).status == 200
    assert (await client.stats())["buckets"] == {
        "char-killmail": {
            "tokens": 30,
            "highest": 30,
            "refused": 1,
            "owners": {
                f"app:{one.character_id}": 30,
                f"app:{other.character_id}": 2,
                f"other:{one.character_id}": 2,
            },
        }
    }
    clock.now_s += 60
    assert (await recent(client, one.character_id)).status == 200
    assert (await client.stats())["requests"]["esi"]["character_recent"] == {"200": 18, "429": 1}


async def test_a_request_without_a_good_token_is_refused(start: Start, clock: Clock) -> None:
    client = await start(limits=True)
    first, other = client.standin.playback.characters.all(2)
    path = f"/characters/{first.character_id}/killmails/recent"
    without = await client.get(path)
    assert without.status == 401
    check(without.body, "Error")
    unknown = await client.get(path, headers={"Authorization": "Bearer nonsense"})
    expiring = authorize(client, first.character_id, for_s=1_200)
    clock.now_s += 1_200
    for refused in (unknown, await client.get(path, headers=expiring)):
        assert refused.status == 403
        assert refused.json() == {"error": "unexpected end of JSON input", "sso_status": 401}
    lacking = authorize(client, first.character_id, scopes=frozenset({ROLES_SCOPE}))
    foreign = authorize(client, other.character_id)
    for refused in (
        await client.get(path, headers=lacking),
        await client.get(path, headers=foreign),
    ):
        assert refused.status == 403
        assert refused.headers["X-Ratelimit-Used"] == "5"
    await client.switch(esi_token_status=401)
    assert (await client.get(path, headers=expiring)).status == 401


async def test_a_public_route_with_a_token_has_a_bucket_of_address_and_application(
    start: Start,
) -> None:
    client = await start()
    first, *_ = client.standin.playback.characters.all(1)
    for headers in ({}, authorize(client, first.character_id)):
        await client.get("/status", headers=headers)
    owners = (await client.stats())["buckets"]["status"]["owners"]
    assert owners == {"127.0.0.1": 2, "127.0.0.1:app": 2}


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


async def test_all_routes_agree_on_where_a_character_is(start: Start) -> None:
    client = await start(synthetic=100)
    characters = client.standin.playback.characters.all(50)
    ids = [one.character_id for one in characters]
    answer = await client.ask("POST", "/characters/affiliation", json=ids)
    check(answer.body, "CharactersAffiliationPost")
    affiliations = {one["character_id"]: one for one in answer.json()}
    assert list(affiliations) == ids
    for one in characters:
        detail = await client.json(f"/characters/{one.character_id}")
        corporation = await client.get(f"/corporations/{one.corporation_id}")
        check(corporation.body, "CorporationsDetail")
        affiliation = affiliations[one.character_id]
        assert detail["name"] == one.name
        assert affiliation["corporation_id"] == detail["corporation_id"] == one.corporation_id
        alliance_id = affiliation.get("alliance_id")
        assert alliance_id == detail.get("alliance_id") == corporation.json().get("alliance_id")
        if alliance_id is not None:
            members = await client.json(f"/alliances/{alliance_id}/corporations")
            assert one.corporation_id in members


@pytest.mark.parametrize(
    ("path", "schema", "version", "max_age_s"),
    [
        ("/characters/95465499", "CharactersDetail", "2026-06-09", 86_400),
        ("/corporations/98000001", "CorporationsDetail", "2026-07-21", 3_600),
        ("/corporations/1000125", "CorporationsDetail", "2026-07-21", 3_600),
        ("/alliances", "AlliancesGet", "2020-01-01", 3_600),
        ("/alliances/99000001", "AllianceDetail", "2020-01-01", 3_600),
        (
            "/alliances/99000001/corporations",
            "AlliancesAllianceIdCorporationsGet",
            "2020-01-01",
            3_600,
        ),
        ("/universe/types/670", "UniverseTypesTypeIdGet", "2020-01-01", None),
        ("/universe/groups/25", "UniverseGroupsGroupIdGet", "2020-01-01", None),
    ],
)
async def test_public_answers_have_esis_shape_and_may_be_cached(
    start: Start, clock: Clock, path: str, schema: str, version: str, max_age_s: int | None
) -> None:
    client = await start(limits=True)
    answer = await client.get(path, headers={"X-Compatibility-Date": "2026-08-18"})
    check(answer.body, schema)
    assert answer.headers["X-Compatibility-Date"] == version
    assert "X-Ratelimit-Limit" not in answer.headers
    assert answer.headers["X-ESI-Error-Limit-Remain"] == "100"
    expires = parsedate_to_datetime(answer.headers["Expires"])
    modified = parsedate_to_datetime(answer.headers["Last-Modified"])
    if max_age_s is None:
        assert f"{expires:%H:%M:%S}" == "11:05:00"
    else:
        assert expires - modified == timedelta(seconds=max_age_s)
    known = {"If-None-Match": answer.headers["ETag"]}
    assert (await client.get(path + "/", headers=known)).status == 304
    clock.now_s = expires.timestamp()
    later = await client.get(path)
    assert parsedate_to_datetime(later.headers["Expires"]) > expires
    assert later.headers["ETag"] == answer.headers["ETag"]


@pytest.mark.parametrize(
    "path",
    [
        "/characters/98000001",
        "/characters/x",
        "/corporations/95465499",
        "/alliances/98000001",
        "/alliances/1/corporations",
        "/universe/types/0",
        "/universe/groups/99999999",
        "/characters/" + "9" * 30,
    ],
)
async def test_unknown_ids_are_404_and_count_as_errors(start: Start, path: str) -> None:
    client = await start(limits=True)
    answer = await client.get(path)
    assert answer.status == 404
    assert answer.headers["X-ESI-Error-Limit-Remain"] == "99"
    check(answer.body, "Error")


@pytest.mark.parametrize("ids", [[], [1], [95465499, 98000001], [5, 5], list(range(1001)), {}])
async def test_affiliation_of_a_wrong_batch_is_400(start: Start, ids: Any) -> None:
    client = await start()
    answer = await client.ask("POST", "/characters/affiliation", json=ids)
    assert answer.status == 400
    check(answer.body, "Error")


async def test_deleted_characters_are_in_doomheim_or_gone(start: Start) -> None:
    client = await start()
    buried, gone, alive = (one.character_id for one in client.standin.playback.characters.all(3))
    await client.switch(esi_deleted={str(buried): "doomheim", str(gone): "404"})
    detail = await client.json(f"/characters/{buried}")
    assert detail["corporation_id"] == DOOMHEIM
    assert "alliance_id" not in detail
    assert (await client.get(f"/characters/{gone}")).status == 404

    async def affiliation(*ids: int) -> Answer:
        return await client.ask("POST", "/characters/affiliation", json=ids)

    assert (await affiliation(alive, buried)).json()[1] == {
        "character_id": buried,
        "corporation_id": DOOMHEIM,
    }
    refused = await affiliation(alive, gone)
    assert (refused.status, refused.json()) == (400, {"error": "Invalid character ID"})


async def test_a_change_has_another_etag_and_a_later_date(start: Start, clock: Clock) -> None:
    client = await start()
    first, *_ = client.standin.playback.characters.all(1)
    path = f"/characters/{first.character_id}"
    before = await client.get(path)
    clock.now_s += 10
    await client.switch(esi_moved={str(first.character_id): 98_000_777})
    for known in (
        {"If-None-Match": before.headers["ETag"]},
        {"If-Modified-Since": before.headers["Last-Modified"]},
    ):
        after = await client.get(path, headers=known)
        assert (after.status, after.json()["corporation_id"]) == (200, 98_000_777)


async def test_corporations_close_and_have_as_many_members_as_a_switch_says(start: Start) -> None:
    client = await start()
    who = client.standin.playback.characters.all(1)[0]
    path = f"/corporations/{who.corporation_id}"
    members = client.standin.playback.characters.members(who.corporation_id)
    before = await client.json(path)
    assert before["member_count"] >= len(members)
    assert before["state"] == "active"
    await client.switch(esi_members={str(who.corporation_id): 250})
    assert (await client.json(path))["member_count"] == 250
    await client.switch(esi_closed=[who.corporation_id])
    closed = await client.json(path)
    assert (closed["state"], closed["member_count"]) == ("closed", 0)
    assert "alliance_id" not in closed


async def test_alliances_are_those_of_the_killmails_that_are_out(
    start: Start, clock: Clock
) -> None:
    client = await start(synthetic=60, rate_per_s=1)
    few = await client.json("/alliances")
    clock.now_s += 60
    all_of_them = await client.json("/alliances")
    wanted = {
        who["alliance_id"]
        for played in client.standin.dataset.killmails
        for body in [msgspec.json.decode(played.body)]
        for who in [body["victim"], *body["attackers"]]
        if "alliance_id" in who
    }
    assert all_of_them == sorted(wanted)
    assert set(few) < set(all_of_them)


def table(path: Path, columns: str, *rows: list[Any]) -> None:
    content = msgspec.json.encode({"columns": columns.split(), "rows": rows})
    path.write_bytes(gzip.compress(content))


async def test_types_and_groups_are_those_of_the_universe_folder(
    start: Start, tmp_path: Path
) -> None:
    table(
        tmp_path / "types.json.gz",
        "id name group_id category_id published",
        [670, "Pod", 29, 6, True],
        [9, None, 29, 6, False],
    )
    table(tmp_path / "groups.json.gz", "id name category_id published", [29, "Pods", 6, True])
    for name in ("systems", "constellations", "regions", "factions", "npc_corporations"):
        table(tmp_path / f"{name}.json.gz", "id name")
    client = await start(universe=tmp_path)
    answer = await client.get("/universe/types/670")
    check(answer.body, "UniverseTypesTypeIdGet")
    assert (answer.json()["name"], answer.json()["group_id"]) == ("Pod", 29)
    group = await client.get("/universe/groups/29")
    check(group.body, "UniverseGroupsGroupIdGet")
    assert group.json() == {
        "group_id": 29,
        "name": "Pods",
        "category_id": 6,
        "published": True,
        "types": [670, 9],
    }
    assert (await client.get("/universe/types/671")).status == 404
