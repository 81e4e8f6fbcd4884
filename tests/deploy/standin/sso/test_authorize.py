"""The SSO's metadata and keys, and a login up to its code."""

from html import unescape

import pytest
from yarl import URL

from deploy.standin.sso.applications import DEVELOPMENT, SCOPES, Application
from tests.deploy.standin.conftest import Start
from tests.deploy.standin.sso.client import (
    CALLBACK,
    authorize,
    character_id,
    exchange,
    log_in,
    query,
    returned,
    verified,
)

CHARACTER = Application(client_id="few", secret="x", callbacks=(CALLBACK,), scopes=SCOPES[:1])


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
