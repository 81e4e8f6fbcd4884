import asyncio
from base64 import urlsafe_b64decode
from html import unescape
from typing import Any

import aiohttp
import msgspec
import pytest
from joserfc.errors import JoseError
from yarl import URL

from deploy.standin.sso.applications import DEVELOPMENT, SCOPES, Application
from tests.deploy.standin.conftest import NOON, Answer, Clock, Start
from tests.deploy.standin.sso import (
    CALLBACK,
    authorize,
    basic,
    character_id,
    code,
    exchange,
    log_in,
    query,
    refresh,
    returned,
    token,
    verified,
)

OTHER = Application(client_id="other", secret="hush", callbacks=(CALLBACK,))
CHARACTER = Application(client_id="few", secret="x", callbacks=(CALLBACK,), scopes=SCOPES[:1])


def refused(answer: Answer) -> tuple[int, str, str]:
    body = answer.json()
    return answer.status, body["error"], body["error_description"]


async def test_metadata_names_where_everything_is(start: Start) -> None:
    client = await start()
    metadata = await client.json("/.well-known/oauth-authorization-server")
    url = client.standin.url
    assert metadata["issuer"] == url
    assert metadata["authorization_endpoint"] == f"{url}/v2/oauth/authorize"
    assert metadata["token_endpoint"] == f"{url}/v2/oauth/token"
    assert metadata["jwks_uri"] == f"{url}/oauth/jwks"
    assert metadata["revocation_endpoint"] == f"{url}/v2/oauth/revoke"
    assert metadata["code_challenge_methods_supported"] == ["S256"]


async def test_sso_says_it_is_where_it_was_put(start: Start) -> None:
    client = await start(sso_url="https://sso.example.org")
    metadata = await client.json("/.well-known/oauth-authorization-server")
    assert metadata["token_endpoint"] == "https://sso.example.org/v2/oauth/token"
    given = await verified(client, (await log_in(client))["access_token"])
    assert given.claims["iss"] == "https://sso.example.org"


async def test_jwks_has_both_keys_and_no_private_half(start: Start) -> None:
    client = await start()
    rs256, es256 = (await client.json("/oauth/jwks"))["keys"]
    assert (rs256["kid"], rs256["alg"], rs256["kty"]) == ("JWT-Signature-Key", "RS256", "RSA")
    assert (es256["alg"], es256["kty"], es256["crv"]) == ("ES256", "EC", "P-256")
    assert es256["kid"].startswith("8878a23f-")
    assert "d" not in rs256.keys() | es256.keys()


async def test_page_lists_scopes_and_characters_and_its_form_leads_back(start: Start) -> None:
    client = await start()
    answer = await authorize(client)
    assert (answer.status, answer.content_type) == (200, "text/html")
    page = unescape(answer.body.decode())
    characters = await client.json("/standin/characters?limit=50")
    assert all(scope in page for scope in SCOPES)
    assert all(f'value="{one["character_id"]}"' in page for one in characters)
    assert all(one["name"] in page for one in characters)
    assert "<script" not in page
    action = page.partition('action="')[2].partition('"')[0]
    chosen = {"decision": "allow", "character_id": str(characters[3]["character_id"])}
    back = returned(await client.ask("POST", str(URL(action)), data=chosen))
    assert back["state"] == "s t&te"
    given = (await exchange(client, back["code"])).json()
    claims = (await verified(client, given["access_token"])).claims
    assert claims["sub"] == f"CHARACTER:EVE:{characters[3]['character_id']}"


async def test_page_escapes_what_it_was_given(start: Start) -> None:
    marked = Application(client_id='"><b>', secret="x", callbacks=(CALLBACK,))
    client = await start(applications=(marked,))
    page = (await authorize(client, client_id=marked.client_id, state='"><b>')).body
    assert b"<b>" not in page
    assert b"response_type=code&amp;client_id=" in page


@pytest.mark.parametrize("path", [{"deny": "1"}, {"character_id": None}])
async def test_denied_login_leads_back_with_the_error(
    start: Start, path: dict[str, str | None]
) -> None:
    client = await start()
    if "deny" in path:
        answer = await authorize(client, **path)
    else:
        answer = await client.ask(
            "POST", "/v2/oauth/authorize", params=query(), data={"decision": "deny"}
        )
    back = returned(answer)
    assert (back["error"], back["state"]) == ("access_denied", "s t&te")
    assert "code" not in back


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"client_id": "unknown"}, "client_id"),
        ({"client_id": None}, "client_id"),
        ({"redirect_uri": CALLBACK + "/"}, "redirect_uri"),
        ({"redirect_uri": CALLBACK + "?a=1"}, "redirect_uri"),
        ({"redirect_uri": None}, "redirect_uri"),
        ({"state": None}, "state"),
        ({"state": ""}, "state"),
        ({"character_id": "1"}, "character"),
        ({"character_id": "x"}, "character"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_login_that_nobody_could_take_is_refused_on_a_page(
    start: Start, changes: dict[str, str | None], said: str, method: str
) -> None:
    client = await start()
    form = {"decision": "allow", "character_id": changes.get("character_id") or "1"}
    given = None if method == "GET" else form
    answer = await client.ask(method, "/v2/oauth/authorize", params=query(**changes), data=given)
    assert answer.status == 400
    assert "Location" not in answer.headers
    assert said in answer.body.decode()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "unsupported_response_type"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"scope": "esi-mail.read_mail.v1"}, "invalid_scope"),
        ({"client_id": "few"}, "invalid_scope"),
    ],
)
async def test_wrong_login_leads_back_with_the_error(
    start: Start, changes: dict[str, str | None], error: str
) -> None:
    client = await start(applications=(DEVELOPMENT, CHARACTER))
    who = {"character_id": str(await character_id(client))}
    back = returned(await authorize(client, **(who | changes)))
    assert (back["error"], back["state"]) == (error, "s t&te")
    assert "code" not in back


async def test_token_has_the_claims_of_eves(start: Start) -> None:
    client = await start()
    answer = await exchange(client, await code(client))
    given = answer.json()
    assert answer.headers["Cache-Control"] == "no-store"
    assert given.keys() == {"access_token", "expires_in", "token_type", "refresh_token"}
    assert (given["expires_in"], given["token_type"]) == (1_199, "Bearer")
    (character,) = await client.json("/standin/characters?limit=1")
    checked = await verified(client, given["access_token"])
    claims = checked.claims
    assert checked.header == {"alg": "RS256", "kid": "JWT-Signature-Key", "typ": "JWT"}
    assert isinstance(claims.pop("jti"), str)
    assert claims == {
        "scp": sorted(SCOPES),
        "kid": "JWT-Signature-Key",
        "sub": f"CHARACTER:EVE:{character['character_id']}",
        "azp": "killstream-dev",
        "tenant": "tranquility",
        "tier": "live",
        "region": "world",
        "aud": ["killstream-dev", "EVE Online"],
        "name": character["name"],
        "owner": character["owner_hash"],
        "exp": NOON + 1_200,
        "iat": NOON,
        "iss": client.standin.url,
    }


@pytest.mark.parametrize(
    ("scope", "scp"), [(SCOPES[0], SCOPES[0]), ("", None), (" ".join(SCOPES[:2]), list(SCOPES[:2]))]
)
async def test_scopes_are_a_list_or_one_or_absent(start: Start, scope: str, scp: Any) -> None:
    client = await start()
    given = await log_in(client, scope=scope)
    claims = (await verified(client, given["access_token"])).claims
    assert claims.get("scp") == (sorted(scp) if isinstance(scp, list) else scp)
    assert ("scp" in claims, "refresh_token" in given) == (bool(scope), bool(scope))


async def test_native_application_needs_no_secret(start: Start) -> None:
    client = await start()
    native = {"fields": {"client_id": DEVELOPMENT.client_id}, "headers": {}}
    given = await exchange(client, await code(client), **native)
    assert given.status == 200
    native = {"fields": {"client_id": DEVELOPMENT.client_id}, "headers": {}}
    assert (await refresh(client, given.json()["refresh_token"], **native)).status == 200


async def test_secret_may_stand_in_the_form(start: Start) -> None:
    client = await start()
    for secret, status in ((DEVELOPMENT.secret, 200), ("wrong", 401)):
        fields = {"client_id": DEVELOPMENT.client_id, "client_secret": secret}
        answer = await exchange(client, await code(client), fields=fields, headers={})
        assert answer.status == status


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic(secret="wrong"),
        basic(OTHER),
        {"Authorization": "Basic %"},
        {"Authorization": "Bearer x"},
    ],
)
async def test_bad_credentials_are_refused(start: Start, headers: dict[str, str]) -> None:
    client = await start()
    answer = await exchange(client, await code(client), headers=headers)
    assert (answer.status, answer.json()["error"]) == (401, "invalid_client")


async def test_code_counts_once(start: Start) -> None:
    client = await start()
    given = await code(client)
    assert (await exchange(client, given)).status == 200
    assert (await exchange(client, given)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(("later_s", "status"), [(299, 200), (300, 400)])
async def test_code_lasts_five_minutes(
    start: Start, clock: Clock, later_s: int, status: int
) -> None:
    client = await start()
    given = await code(client)
    clock.now_s += later_s
    assert (await exchange(client, given)).status == status


async def test_code_of_another_application_is_refused(start: Start) -> None:
    client = await start(applications=(DEVELOPMENT, OTHER))
    answer = await exchange(client, await code(client), headers=basic(OTHER))
    assert (answer.status, answer.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("verifier", "error"), [("x" * 43, "invalid_grant"), ("", "invalid_request")]
)
async def test_wrong_verifier_is_refused_and_uses_up_the_code(
    start: Start, verifier: str, error: str
) -> None:
    client = await start()
    given = await code(client)
    answer = await exchange(client, given, fields={"code_verifier": verifier})
    assert (answer.status, answer.json()["error"]) == (400, error)
    assert (await exchange(client, given)).status == 400


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({}, "unsupported_grant_type"),
        ({"grant_type": "authorization_code"}, "invalid_request"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
    ],
)
async def test_request_that_lacks_something_is_refused(
    start: Start, fields: dict[str, str], error: str
) -> None:
    client = await start()
    answer = await token(client, fields)
    assert (answer.status, answer.json()["error"]) == (400, error)


async def test_token_endpoint_takes_forms_only(start: Start) -> None:
    client = await start()
    body = {"grant_type": "refresh_token", "refresh_token": "x"}
    answer = await client.ask("POST", "/v2/oauth/token", json=body, headers=basic())
    assert (answer.status, answer.json()["error"]) == (400, "invalid_request")


async def test_refresh_gives_another_access_token(start: Start, clock: Clock) -> None:
    client = await start()
    first = await log_in(client)
    clock.now_s += 1_300
    second = (await refresh(client, first["refresh_token"])).json()
    assert second["refresh_token"] == first["refresh_token"]
    claims = (await verified(client, second["access_token"])).claims
    assert (claims["iat"], claims["scp"]) == (clock.now_s, sorted(SCOPES))


async def test_refresh_may_ask_for_less_and_not_for_more(start: Start) -> None:
    client = await start()
    given = await log_in(client, scope=" ".join(SCOPES[:2]))
    less = await refresh(client, given["refresh_token"], fields={"scope": SCOPES[0]})
    claims = (await verified(client, less.json()["access_token"])).claims
    assert claims["scp"] == SCOPES[0]
    more = await refresh(client, given["refresh_token"], fields={"scope": SCOPES[2]})
    assert (more.status, more.json()["error"]) == (400, "invalid_scope")
    again = await refresh(client, given["refresh_token"])
    claims = (await verified(client, again.json()["access_token"])).claims
    assert claims["scp"] == sorted(SCOPES[:2])


async def test_rotated_refresh_token_is_dead_and_its_use_is_counted(start: Start) -> None:
    client = await start(faults={"sso_rotation": True})
    first = (await log_in(client))["refresh_token"]
    second = (await refresh(client, first)).json()["refresh_token"]
    assert second != first
    assert refused(await refresh(client, first)) == (
        400,
        "invalid_grant",
        "Invalid refresh token. Token missing/expired.",
    )
    assert (await refresh(client, second)).status == 200
    assert (await client.stats())["refused"]["refresh_token_reused"] == 1


async def test_what_is_no_refresh_token_cannot_be_migrated(start: Start) -> None:
    client = await start()
    assert refused(await refresh(client, "bogus")) == (
        400,
        "invalid_grant",
        "Invalid refresh token. Unable to migrate grant.",
    )


async def test_grant_that_was_taken_back_is_refused_until_the_next_login(start: Start) -> None:
    client = await start()
    given = (await log_in(client))["refresh_token"]
    id_ = await character_id(client)
    taken = await client.ask("DELETE", f"/standin/sso/grants/{id_}")
    assert taken.json() == {"withdrawn": 1}
    assert refused(await refresh(client, given)) == (
        400,
        "invalid_grant",
        "Invalid refresh token. Character grant missing/expired.",
    )
    assert (await refresh(client, (await log_in(client))["refresh_token"])).status == 200


async def test_refresh_token_expires_when_told(start: Start, clock: Clock) -> None:
    client = await start(faults={"sso_refresh_token_s": 100})
    given = (await log_in(client))["refresh_token"]
    clock.now_s += 99
    assert (await refresh(client, given)).status == 200
    clock.now_s += 1
    assert refused(await refresh(client, given)) == (
        400,
        "invalid_token",
        "The refresh token is expired.",
    )


async def test_refresh_token_of_another_application_is_refused(start: Start) -> None:
    client = await start(applications=(DEVELOPMENT, OTHER))
    given = (await log_in(client))["refresh_token"]
    assert refused(await refresh(client, given, headers=basic(OTHER))) == (
        400,
        "invalid_token",
        "The refresh token does not match the client specified.",
    )


@pytest.mark.parametrize(
    ("kind", "status", "error"),
    [
        ("token", 400, "invalid_grant"),
        ("grant", 400, "invalid_grant"),
        ("migrate", 400, "invalid_grant"),
        ("expired", 400, "invalid_token"),
        ("client", 400, "invalid_token"),
        ("credentials", 401, "invalid_client"),
        ("unavailable", 503, "temporarily_unavailable"),
    ],
)
async def test_next_refreshes_are_refused_as_switched(
    start: Start, kind: str, status: int, error: str
) -> None:
    client = await start()
    given = (await log_in(client))["refresh_token"]
    await client.switch(sso_fail_next=2, sso_error=kind)
    for _ in range(2):
        assert refused(await refresh(client, given))[:2] == (status, error)
    assert (await refresh(client, given)).status == 200
    assert (await client.stats())["faults"]["sso_error"] == 2


async def test_sso_can_be_down_as_a_whole(start: Start) -> None:
    client = await start()
    given = (await log_in(client))["refresh_token"]
    await client.switch(sso_status=502)
    assert (await refresh(client, given)).status == 502
    assert (await client.get("/oauth/jwks")).status == 502
    assert (await authorize(client)).status == 502
    await client.switch(sso_status=None)
    assert (await refresh(client, given)).status == 200


async def test_lost_answer_has_rotated_the_token_all_the_same(start: Start) -> None:
    client = await start(faults={"sso_rotation": True})
    given = (await log_in(client))["refresh_token"]
    await client.switch(sso_lost_next=1)
    with pytest.raises(aiohttp.ClientConnectionError):
        await refresh(client, given)
    assert (await refresh(client, given)).status == 400


async def test_latency_holds_back_what_is_already_done(start: Start) -> None:
    client = await start(faults={"sso_rotation": True})
    given = (await log_in(client))["refresh_token"]
    await client.switch(sso_latency_ms=600_000)
    waiting = asyncio.create_task(refresh(client, given))
    while (await client.stats())["requests"]["sso"]["token"]["200"] < 2:
        assert not waiting.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await client.switch(sso_latency_ms=0)
    assert (await refresh(client, given)).status == 400


@pytest.mark.parametrize("kind", ["access_token", "refresh_token", "bogus"])
async def test_revoked_token_is_dead_and_any_other_is_answered_the_same(
    start: Start, kind: str
) -> None:
    client = await start()
    given = await log_in(client)
    form = {"token": given.get(kind, "bogus")}
    answer = await client.ask("POST", "/v2/oauth/revoke", data=form, headers=basic())
    assert answer.status == 200
    held = await client.json("/standin/sso/grants")
    counts = held.get(str(await character_id(client)), {})
    assert counts == {
        "access_tokens": int(kind != "access_token"),
        "refresh_tokens": int(kind != "refresh_token"),
    }
    again = await refresh(client, given["refresh_token"])
    assert again.status == (400 if kind == "refresh_token" else 200)


async def test_esi_takes_the_access_token_until_it_ends_and_no_other(
    start: Start, clock: Clock
) -> None:
    client = await start()
    given = await log_in(client)
    path = f"/characters/{await character_id(client)}/roles"

    async def status(bearer: str) -> int:
        headers = {"Authorization": f"Bearer {bearer}"}
        return (await client.get(path, headers=headers)).status

    assert await status(given["access_token"]) == 200
    assert await status(given["refresh_token"]) == 403
    assert await status(given["access_token"][:-8] + "forged00") == 403
    clock.now_s += 1_200
    assert await status(given["access_token"]) == 403


async def test_es256_signs_when_switched(start: Start) -> None:
    client = await start(faults={"sso_alg": "ES256"})
    checked = await verified(client, (await log_in(client))["access_token"])
    assert checked.header["alg"] == "ES256"
    assert checked.header["kid"] == checked.claims["kid"]
    assert checked.claims["kid"].startswith("8878a23f-")


@pytest.mark.parametrize("form", ["host", "url", "slash"])
async def test_issuer_has_three_forms(start: Start, form: str) -> None:
    client = await start(faults={"sso_issuer": form})
    url = client.standin.url
    wanted = {"host": url.removeprefix("http://"), "url": url, "slash": url + "/"}
    claims = (await verified(client, (await log_in(client))["access_token"])).claims
    assert claims["iss"] == wanted[form]


async def test_lifetime_is_as_switched(start: Start) -> None:
    client = await start(faults={"sso_token_s": 5})
    given = await log_in(client)
    claims = (await verified(client, given["access_token"])).claims
    assert (given["expires_in"], claims["exp"] - claims["iat"]) == (4, 5)


async def test_sold_character_has_another_owner(start: Start) -> None:
    client = await start()
    first = await log_in(client)
    before = (await verified(client, first["access_token"])).claims
    await client.switch(sso_sold=[await character_id(client)])
    second = (await refresh(client, first["refresh_token"])).json()
    after = (await verified(client, second["access_token"])).claims
    assert before["sub"] == after["sub"]
    assert before["owner"] != after["owner"]


async def test_fault_for_a_while_passes(start: Start, clock: Clock) -> None:
    client = await start()
    given = (await log_in(client))["refresh_token"]
    path = "/standin/faults?for_s=30"
    assert (await client.ask("PUT", path, json={"sso_status": 503})).status == 200
    assert (await refresh(client, given)).status == 503
    clock.now_s += 30
    assert (await refresh(client, given)).status == 200


async def test_renamed_character_has_its_new_name(start: Start) -> None:
    client = await start()
    await client.switch(renamed={str(await character_id(client)): "New Name"})
    claims = (await verified(client, (await log_in(client))["access_token"])).claims
    assert claims["name"] == "New Name"


@pytest.mark.parametrize(
    ("wrong", "claim", "value"),
    [
        ("application", "aud", ["another-application", "EVE Online"]),
        ("audience", "aud", ["killstream-dev"]),
        ("issuer", "iss", "https://login.example.org"),
        ("subject", "sub", "CORPORATION:EVE:98000001"),
        ("expired", "exp", NOON - 6_000),
    ],
)
async def test_wrong_token_is_signed_and_wrong_in_one_claim(
    start: Start, wrong: str, claim: str, value: Any
) -> None:
    client = await start(faults={"sso_token_wrong": (wrong,)})
    claims = (await verified(client, (await log_in(client))["access_token"])).claims
    assert claims[claim] == value


@pytest.mark.parametrize(("wrong", "alg"), [("key", "RS256"), ("none", "none"), ("hmac", "HS256")])
async def test_forged_token_has_no_signature_of_the_sso(start: Start, wrong: str, alg: str) -> None:
    client = await start(faults={"sso_token_wrong": (wrong,)})
    given = (await log_in(client))["access_token"]
    header = msgspec.json.decode(urlsafe_b64decode(given.split(".")[0] + "=="))
    assert (header["alg"], header["kid"]) == (alg, "JWT-Signature-Key")
    with pytest.raises(JoseError):
        await verified(client, given)
    held = await client.json("/standin/sso/grants")
    assert [counts["access_tokens"] for counts in held.values()] == [0]


async def test_requests_are_counted_by_endpoint(start: Start) -> None:
    client = await start()
    given = await log_in(client)
    await refresh(client, "bogus")
    await client.ask("POST", "/v2/oauth/revoke", data={"token": given["refresh_token"]})
    requests = (await client.stats())["requests"]["sso"]
    assert requests == {
        "authorize": {"302": 1},
        "token": {"200": 1, "400": 1},
        "revoke": {"200": 1},
    }


@pytest.mark.parametrize("limit", ["x", "-1"])
async def test_wrong_limit_of_characters_is_refused(start: Start, limit: str) -> None:
    client = await start()
    assert (await client.get(f"/standin/characters?limit={limit}")).status == 400
