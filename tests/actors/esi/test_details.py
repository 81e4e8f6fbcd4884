"""What ESI says of corporations, alliances, types, and the affiliations of characters."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from actors.esi.affiliations import MAX_IDS, affiliations, affiliations_in_halves
from actors.esi.answer import Answer
from actors.esi.client import Esi
from actors.esi.conditional import MAX_TTL, Fetched, expires_at
from actors.esi.details import (
    alliance,
    alliance_corporations,
    alliances,
    corporation,
    item_type,
)
from actors.esi.entities import Affiliation
from actors.esi.errors import Garbled, Refused
from actors.shared.errors import RetryLater
from tests.support.esi import esi_that_says

Fetch = Callable[[Esi, str | None], Awaitable[Fetched[Any]]]

CORPORATION = {
    "ceo_id": 2112000001,
    "date_founded": "2020-01-01T00:00:00Z",
    "description": "Some\0text",
    "friendly_fire": "legal",
    "home_station_id": 60003760,
    "member_count": 42,
    "name": "A Corporation",
    "shares": 1000,
    "state": "active",
    "tax_rates": {"isk": 10.0, "loyalty_point": 5.6},
    "ticker": "A.C",
    "type": "player_owned",
    "war_eligible": True,
}
ALLIANCE = {
    "creator_corporation_id": 98000001,
    "creator_id": 2112000001,
    "date_founded": "2021-01-01T00:00:00Z",
    "executor_corporation_id": 98000002,
    "name": "An Alliance",
    "ticker": "AA",
}
TYPE = {
    "description": "",
    "dogma_attributes": [{"attribute_id": 9, "value": 350.0}],
    "group_id": 25,
    "mass": 1067000.0,
    "name": "Rifter",
    "packaged_volume": 2500,
    "published": True,
    "type_id": 587,
    "volume": 27289.0,
}
CACHED: dict[str, tuple[Fetch, str, Any, int]] = {
    "corporation": (
        lambda esi, etag: corporation(esi, 7, etag),
        "/corporations/7",
        CORPORATION,
        3600,
    ),
    "alliance": (lambda esi, etag: alliance(esi, 7, etag), "/alliances/7", ALLIANCE, 3600),
    "alliances": (alliances, "/alliances", [99000001, 99000002], 3600),
    "alliance_corporations": (
        lambda esi, etag: alliance_corporations(esi, 7, etag),
        "/alliances/7/corporations",
        [98000001],
        3600,
    ),
    "type": (lambda esi, etag: item_type(esi, 587, etag), "/universe/types/587", TYPE, 86_400),
}
all_routes = pytest.mark.parametrize(
    ("fetch", "path", "body", "ttl_s"), CACHED.values(), ids=CACHED.keys()
)
a_minute = timedelta(minutes=1)


@all_routes
async def test_route_its_answer_and_that_it_is_not_modified(
    fetch: Fetch, path: str, body: Any, ttl_s: int
) -> None:
    heard: list[web.Request] = []

    async def say(request: web.Request) -> web.Response:
        heard.append(request)
        if request.headers.get("If-None-Match") == '"known"':
            return web.Response(status=304, headers={"ETag": '"known"'})
        given = body if isinstance(body, list) else body | {"added_later": {"a": [1]}}
        return web.json_response(given, headers={"ETag": '"known"'})

    async with esi_that_says(say) as esi:
        first = await fetch(esi, None)
        again = await fetch(esi, first.etag)
    assert [request.path_qs for request in heard] == [path, path]
    assert "If-None-Match" not in heard[0].headers
    assert (again.value, again.etag) == (None, '"known"')
    for fetched in (first, again):
        left = fetched.expires_at - datetime.now(UTC)
        assert timedelta(seconds=ttl_s) - a_minute < left <= timedelta(seconds=ttl_s)
    assert first.value is not None
    if isinstance(body, list):
        assert first.value == body
    else:
        assert first.value.name == body["name"]


async def test_fields_of_a_corporation() -> None:
    async with esi_that_says(says(CORPORATION)) as esi:
        found = (await corporation(esi, 7)).value
    assert found
    assert (found.ticker, found.member_count, found.alliance_id) == ("A.C", 42, None)
    assert found.date_founded == datetime(2020, 1, 1, tzinfo=UTC)
    assert found.tax_rates
    assert found.tax_rates.isk == 10.0
    assert found.description == "Sometext"  # PostgreSQL stores no NUL


def says(body: Any, status: int = 200) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def say(_: web.Request) -> web.Response:
        return web.json_response(body, status=status)

    return say


@all_routes
@pytest.mark.parametrize(
    "wrong",
    ["<html>", "{}", "null", "[{}]", '{"name": "\\ud800"}', "[" * 2000, '["7"]', "[-1]"],
)
async def test_what_is_no_such_object_is_garbled(
    fetch: Fetch, path: str, body: Any, ttl_s: int, wrong: str
) -> None:
    async def say(_: web.Request) -> web.Response:
        return web.Response(text=wrong, content_type="application/json")

    async with esi_that_says(say) as esi:
        with pytest.raises(Garbled, match=path):
            await fetch(esi, None)


@all_routes
async def test_an_id_that_no_database_stores_is_garbled(
    fetch: Fetch, path: str, body: Any, ttl_s: int
) -> None:
    huge = 2**63
    wrong = (
        [huge]
        if isinstance(body, list)
        else {key: huge if key.endswith("_id") else value for key, value in body.items()}
    )
    async with esi_that_says(says(wrong)) as esi:
        with pytest.raises(Garbled):
            await fetch(esi, None)


async def test_another_type_is_garbled() -> None:
    async with esi_that_says(says(TYPE | {"type_id": 1})) as esi:
        with pytest.raises(Garbled, match="it is type 1"):
            await item_type(esi, 587)


@all_routes
async def test_an_entity_that_does_not_exist_is_refused(
    fetch: Fetch, path: str, body: Any, ttl_s: int
) -> None:
    async with esi_that_says(says({"error": "Not found"}, 404)) as esi:
        with pytest.raises(Refused, match="Not found"):
            await fetch(esi, None)


NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
AT_NOON, AFTER_5_MIN = "Thu, 26 Nov 2026 12:00:00 GMT", "Thu, 26 Nov 2026 12:05:00 GMT"


@pytest.mark.parametrize(
    ("headers", "ttl"),
    [
        ({"Expires": AFTER_5_MIN}, timedelta(minutes=5)),
        ({"Expires": AFTER_5_MIN, "Date": AT_NOON}, timedelta(minutes=5)),
        # ESI's clock is 3 minutes behind ours, or an hour ahead.
        (
            {"Expires": "Thu, 26 Nov 2026 12:02:00 GMT", "Date": "Thu, 26 Nov 2026 11:57:00 GMT"},
            timedelta(minutes=5),
        ),
        (
            {"Expires": "Thu, 26 Nov 2026 13:05:00 GMT", "Date": "Thu, 26 Nov 2026 13:00:00 GMT"},
            timedelta(minutes=5),
        ),
        ({"Expires": AT_NOON, "Date": AFTER_5_MIN}, timedelta()),
        ({"Expires": "Thu, 26 Nov 2099 12:05:00 GMT"}, MAX_TTL),
        ({"Expires": "-1"}, timedelta(seconds=300)),
        ({"Expires": "Thu, 99 Nov 2026 12:05:00 GMT"}, timedelta(seconds=300)),
        ({}, timedelta(seconds=300)),
    ],
)
def test_when_esi_may_be_asked_again(headers: dict[str, str], ttl: timedelta) -> None:
    assert expires_at(Answer(200, headers, b""), 300, NOW) == NOW + ttl


class Affiliations:
    """Refuses each request that holds an id of which it knows nothing."""

    def __init__(self, unknown: set[int]) -> None:
        self.unknown = unknown
        self.asked: list[list[int]] = []

    async def say(self, request: web.Request) -> web.Response:
        assert (request.method, request.path_qs) == ("POST", "/characters/affiliation")
        ids = json.loads(await request.read())
        assert len(ids) == len(set(ids)) <= 1000
        self.asked.append(ids)
        if self.unknown & set(ids):
            return web.json_response({"error": "Invalid character ID"}, status=400)
        return web.json_response([{"character_id": i, "corporation_id": i + 1} for i in ids])


async def test_affiliations_of_many_characters() -> None:
    upstream = Affiliations(set())
    async with esi_that_says(upstream.say) as esi:
        found = await affiliations(esi, [7, 5, 7])
    assert found == [Affiliation(5, 6), Affiliation(7, 8)]
    assert upstream.asked == [[5, 7]]


async def test_unknown_characters_are_found_by_halving() -> None:
    upstream = Affiliations({3, 1500})
    found, refused = set[int](), list[int]()
    async with esi_that_says(upstream.say) as esi:
        async for some, unknown in affiliations_in_halves(esi, range(1, 2001)):
            found |= {affiliation.character_id for affiliation in some}
            refused += unknown
    assert sorted(refused) == [3, 1500]
    assert found == set(range(1, 2001)) - {3, 1500}
    assert len(upstream.asked) < 50
    assert max(len(ids) for ids in upstream.asked) == MAX_IDS


async def test_what_was_found_before_a_pause_holds() -> None:
    upstream = Affiliations({700})

    async def say(request: web.Request) -> web.Response:
        if len(upstream.asked) == 5:
            return web.json_response({}, status=420, headers={"X-ESI-Error-Limit-Reset": "50"})
        return await upstream.say(request)

    found = []
    async with esi_that_says(say) as esi:
        with pytest.raises(RetryLater, match="error limit"):  # noqa: PT012
            async for some, _ in affiliations_in_halves(esi, range(1000)):
                found += some
    assert len(found) >= 500


async def test_affiliations_of_other_characters_are_garbled() -> None:
    async with esi_that_says(says([{"character_id": 9, "corporation_id": 1}])) as esi:
        with pytest.raises(Garbled, match="aren't in the request"):
            await affiliations(esi, [7])
