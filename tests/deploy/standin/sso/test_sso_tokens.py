"""The token endpoint: codes and refresh tokens, exchanged, rotated, expired and revoked."""

import pytest

from deploy.standin.sso.applications import DEVELOPMENT, SCOPES, Application
from tests.deploy.standin.conftest import Clock, Start
from tests.deploy.standin.sso.client import (
    CALLBACK,
    basic,
    character_id,
    code,
    exchange,
    log_in,
    refresh,
    refused,
    token,
    verified,
)

OTHER = Application(client_id="other", secret="hush", callbacks=(CALLBACK,))


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
