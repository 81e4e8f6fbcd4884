"""Access tokens: their claims, algorithms and issuers, and forged ones."""

from base64 import urlsafe_b64decode
from typing import Any

import msgspec
import pytest
from joserfc.errors import JoseError

from deploy.standin.sso.applications import SCOPES
from tests.deploy.standin.conftest import NOON, Clock, Start
from tests.deploy.standin.sso.client import (
    character_id,
    code,
    exchange,
    log_in,
    refresh,
    verified,
)


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
