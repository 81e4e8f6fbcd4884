"""ESI's public routes of characters, corporations and alliances agree with each other."""

from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec
import pytest

from deploy.standin.census import DOOMHEIM
from tests.deploy.standin.conftest import Answer, Clock, Start
from tests.deploy.standin.shapes import check


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
