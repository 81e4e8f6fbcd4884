"""Requests with an access token: what one character does wrong concerns this character alone."""

import asyncio
import traceback
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from aiohttp import web
from prometheus_client import REGISTRY, generate_latest

from actors.esi.authenticated import Kind, recent_killmails, roles
from actors.esi.budget import CHAR_KILLMAIL, Paused
from actors.esi.client import Esi
from actors.esi.errors import (
    Forbidden,
    Garbled,
    Refused,
    TokenRejected,
    Unavailable,
    UnexpectedStatus,
)
from actors.esi.request import Request
from actors.shared.errors import KillstreamError, RetryLater
from tests.support.esi import Say, esi_that_says

ME, OTHER, CORPORATION = 2_112_000_001, 2_112_000_002, 98_000_001
TOKEN = "eyJhbGciOiJSUzI1NiJ9." + "s3cret" * 60
HASH = "0f" * 20
PAGE = [{"killmail_id": 7, "killmail_hash": HASH, "new_field": None}]


def says(status: int, body: Any, **headers: str) -> Say:
    """Give this one answer to everything."""

    async def say(_: web.Request) -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response(body, status=status, headers=named)

    return say


async def mine(esi: Esi, owner: int = ME, page: int = 1) -> list[tuple[int, str]] | None:
    fetched = await recent_killmails(esi, "character", owner, page, token=TOKEN, owner=owner)
    return fetched.value


@pytest.mark.parametrize(
    ("kind", "entity_id", "path"),
    [
        ("character", ME, f"/characters/{ME}/killmails/recent?page=3"),
        ("corporation", CORPORATION, f"/corporations/{CORPORATION}/killmails/recent?page=3"),
    ],
)
async def test_a_page_of_recent_killmails(kind: Kind, entity_id: int, path: str) -> None:
    heard: list[web.Request] = []

    async def say(request: web.Request) -> web.Response:
        heard.append(request)
        now = datetime.now(UTC)
        headers = {"X-Pages": "5", "ETag": '"e"', "Last-Modified": "Sat, 21 Nov 2026 11:00:00 GMT"}
        headers["Expires"] = f"{now + timedelta(seconds=200):%a, %d %b %Y %H:%M:%S GMT}"
        return web.json_response(PAGE, headers=headers)

    async with esi_that_says(say) as esi:
        page = await recent_killmails(
            esi, kind, entity_id, 3, token=TOKEN, owner=ME, etag='"before"'
        )
    assert (page.value, page.pages, page.etag) == ([(7, HASH)], 5, '"e"')
    left = page.expires_at - datetime.now(UTC)
    assert timedelta(seconds=190) < left <= timedelta(seconds=201)
    assert heard[0].path_qs == path
    assert heard[0].headers["Authorization"] == f"Bearer {TOKEN}"
    assert heard[0].headers["If-None-Match"] == '"before"'


async def test_a_page_that_is_not_modified() -> None:
    async with esi_that_says(says(304, None)) as esi:
        page = await recent_killmails(
            esi, "character", ME, 1, token=TOKEN, owner=ME, etag='"before"'
        )
    assert (page.value, page.etag, page.pages) == (None, '"before"', None)
    assert page.expires_at > datetime.now(UTC) + timedelta(seconds=290)


@pytest.mark.parametrize(
    "body",
    [
        {"error": "no list"},
        [{"killmail_id": 7}],
        [{"killmail_id": -1, "killmail_hash": HASH}],
        [{"killmail_id": 2**63, "killmail_hash": HASH}],
        [{"killmail_id": 7, "killmail_hash": "../" + HASH}],
        [{"killmail_id": 7, "killmail_hash": HASH[1:]}],
    ],
)
async def test_what_is_no_list_of_killmails_is_garbled(body: Any) -> None:
    async with esi_that_says(says(200, body, X_Pages="1")) as esi:
        with pytest.raises(Garbled):
            await mine(esi)


@pytest.mark.parametrize("pages", ["0", "-1", "many", ""])
async def test_a_number_of_pages_that_is_none_is_garbled(pages: str) -> None:
    async with esi_that_says(says(200, PAGE, X_Pages=pages)) as esi:
        with pytest.raises(Garbled, match="X-Pages"):
            await mine(esi)


async def test_a_page_that_does_not_exist_is_refused() -> None:
    error = {"error": "Requested page does not exist!"}
    async with esi_that_says(says(404, error)) as esi:
        with pytest.raises(Refused, match="does not exist"):
            await mine(esi, page=9)


async def test_roles() -> None:
    heard: list[web.Request] = []

    async def say(request: web.Request) -> web.Response:
        heard.append(request)
        found = ["Accountant", "Director"] if len(heard) == 1 else ["Accountant"]
        return web.json_response({"roles": found, "roles_at_hq": ["Director"]})

    async with esi_that_says(say) as esi:
        first, second = await roles(esi, ME, TOKEN), await roles(esi, ME, TOKEN)
    assert first.value
    assert second.value
    assert (first.value.is_director, second.value.is_director) == (True, False)
    assert heard[0].path_qs == f"/characters/{ME}/roles"
    assert first.expires_at > datetime.now(UTC) + timedelta(seconds=3590)


REJECTED = [
    (403, {"error": "unexpected end of JSON input", "sso_status": 401}),
    (403, {"error": "token is expired", "sso_status": 400}),
    (403, {"error": "Token is not valid for scope(s): esi-killmails.read_killmails.v1"}),
    (401, {"error": "authorization not provided"}),
    (401, "unauthorized"),
]
FORBIDDEN = ["Character does not have required role(s)", "Character is not in the corporation"]


@pytest.mark.parametrize(("status", "body"), REJECTED)
async def test_a_token_that_esi_does_not_accept(status: int, body: Any) -> None:
    async with esi_that_says(says(status, body)) as esi:
        with pytest.raises(TokenRejected, match=str(status)):
            await mine(esi)


@pytest.mark.parametrize("error", FORBIDDEN)
async def test_a_character_that_may_not_see_it(error: str) -> None:
    async with esi_that_says(says(403, {"error": error})) as esi:
        with pytest.raises(Forbidden) as forbidden:
            await recent_killmails(esi, "corporation", CORPORATION, 1, token=TOKEN, owner=ME)
    assert forbidden.value.reason == error


async def test_a_login_server_that_fails_rejects_no_token() -> None:
    body = {"error": "can't reach SSO", "sso_status": 503}
    async with esi_that_says(says(403, body)) as esi:
        with pytest.raises(Unavailable, match="SSO"):
            await mine(esi)


async def test_a_page_of_a_proxy_says_nothing_of_token_or_character() -> None:
    async with esi_that_says(says(403, "banned")) as esi:
        with pytest.raises(UnexpectedStatus):
            await mine(esi)


@pytest.mark.parametrize(
    "answer",
    [
        says(401, {"error": "token is expired"}),
        says(403, {"error": FORBIDDEN[0]}),
        says(403, "banned"),
        says(500, {"error": "Internal server error"}),
        says(200, "garbled"),
        says(429, {"error": "slow down"}, Retry_After="77"),
    ],
    ids=["rejected", "forbidden", "unexpected", "failing", "garbled", "limited"],
)
async def test_what_fails_for_one_owner_stops_no_other(answer: Say) -> None:
    async def say(request: web.Request) -> web.StreamResponse:
        if f"/{ME}/" in request.path:
            return await answer(request)
        if request.path == "/status":
            return web.json_response({"players": 1})
        return web.json_response(PAGE, headers={"X-Pages": "1"})

    async with esi_that_says(say) as esi:
        outcomes = await asyncio.gather(
            *(mine(esi, page=page) for page in range(1, 21)), return_exceptions=True
        )
        assert all(isinstance(outcome, KillstreamError) for outcome in outcomes)
        assert await mine(esi, OTHER) == [(7, HASH)]
        assert not esi._breakers[CHAR_KILLMAIL].is_open


async def test_esi_that_fails_for_several_owners_is_left_alone() -> None:
    async with esi_that_says(says(500, {"error": "Internal server error"})) as esi:
        outcomes = await asyncio.gather(
            *(mine(esi, owner) for owner in range(ME, ME + 20)), return_exceptions=True
        )
        assert any(isinstance(outcome, RetryLater) for outcome in outcomes)
        with pytest.raises(Paused):
            await mine(esi, ME + 100)


async def test_429_pauses_the_owner_until_retry_after() -> None:
    heard = []

    async def say(request: web.Request) -> web.Response:
        heard.append(request.path)
        return web.json_response({"error": "slow"}, status=429, headers={"Retry-After": "77"})

    async with esi_that_says(say) as esi:
        with pytest.raises(RetryLater) as wait:
            await mine(esi)
        assert wait.value.delay_ms == 77_000
        with pytest.raises(Paused):
            await mine(esi)
        assert len(heard) == 1


async def test_420_pauses_every_owner() -> None:
    answer = says(420, {"error": "error limit"}, X_ESI_Error_Limit_Reset="50")
    async with esi_that_says(answer) as esi:
        with pytest.raises(RetryLater, match="error limit"):
            await mine(esi)
        with pytest.raises(Paused, match="error limit"):
            await mine(esi, OTHER)


async def test_a_rejected_token_says_nothing_of_its_owners_budget() -> None:
    async def say(request: web.Request) -> web.Response:
        if request.headers["Authorization"] == f"Bearer {TOKEN}":
            error = {"error": "unexpected end of JSON input", "sso_status": 401}
            headers = {"X-Ratelimit-Remaining": "0"}  # of the address, for it isn't known whose
            return web.json_response(error, status=403, headers=headers)
        headers = {"X-Ratelimit-Remaining": "28", "X-Pages": "1"}
        return web.json_response(PAGE, headers=headers)

    async with esi_that_says(say) as esi:
        with pytest.raises(TokenRejected):
            await mine(esi)
        page = await recent_killmails(esi, "character", ME, 1, token="refreshed", owner=ME)
        assert page.value == [(7, HASH)]


async def test_no_metric_is_counted_for_each_character() -> None:
    limited = says(429, {"error": "slow down"}, X_Ratelimit_Remaining="0")
    async with esi_that_says(limited) as esi:
        with pytest.raises(RetryLater):
            await mine(esi)
    said = generate_latest().decode()
    assert 'killstream_esi_pauses_total{scope="char-killmail"}' in said
    assert 'killstream_esi_tokens_left{group="char-killmail"} 0.0' in said
    assert str(ME) not in said
    sent = {"group": "char-killmail", "status": "429"}
    assert REGISTRY.get_sample_value("killstream_esi_requests_total", sent)


async def drop(request: web.Request) -> web.Response:
    """Close the connection without an answer."""
    assert request.transport
    request.transport.close()
    return web.Response()


@pytest.mark.parametrize(
    "answer",
    [
        says(401, {"error": f"token {TOKEN} is expired"}),
        says(403, {"error": f"{TOKEN} may not"}),
        says(400, {"error": f"padding before it {TOKEN}"}),
        says(500, {"error": f"{TOKEN} failed"}),
        says(302, {"error": TOKEN}, Location=f"/elsewhere?token={TOKEN}"),
        says(200, [{"killmail_id": 7, "killmail_hash": TOKEN}]),
        says(200, {TOKEN: TOKEN}),
        says(429, {"error": TOKEN}, Retry_After="1"),
        drop,
    ],
    ids=["401", "403", "400", "500", "302", "hash", "object", "429", "dropped"],
)
async def test_a_token_appears_nowhere(answer: Say) -> None:
    with structlog.testing.capture_logs() as logs:
        async with esi_that_says(answer) as esi:
            with pytest.raises(KillstreamError) as error:
                await mine(esi)
    said = "".join(traceback.format_exception(error.value))
    said += repr(error.value) + str(error.value) + str(vars(error.value)) + repr(logs)
    said += generate_latest().decode()
    assert "s3cret" not in said


def test_a_request_is_shown_without_its_token() -> None:
    request = Request(CHAR_KILLMAIL, "/characters/1/roles", token=TOKEN, owner=ME)
    assert "s3cret" not in repr(request)
    assert str(ME) in repr(request)


@pytest.mark.parametrize("half", [{"token": TOKEN}, {"owner": ME}])
def test_a_token_and_its_owner_go_together(half: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="go together"):
        Request(CHAR_KILLMAIL, "/characters/1/roles", **half)


async def test_public_requests_have_no_token() -> None:
    heard: list[web.Request] = []

    async def say(request: web.Request) -> web.Response:
        heard.append(request)
        return web.json_response([{"id": 7, "name": "Seven", "category": "inventory_type"}])

    async with esi_that_says(say) as esi:
        await esi.names([7])
    assert "Authorization" not in heard[0].headers
