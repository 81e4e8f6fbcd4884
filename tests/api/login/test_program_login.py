"""Logging in with a program, and what its session may do."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from actors.shared.tables import LOGIN_STATES, SESSIONS, USERS
from tests.api.login.browser import AUTHENTICATE, ME, Browser, Gateway, code_of, failures, program


async def test_program_logs_in_and_gets_a_session(gateway: Gateway) -> None:
    async with program(gateway) as asked:
        session = await asked.log_in(scopes="character, corporation")
        me = gateway.character()
        assert session["character"] == {
            "characterId": me.character_id,
            "name": me.name,
            "authStatus": "ok",
            "scopes": [
                "esi-characters.read_corporation_roles.v1",
                "esi-killmails.read_corporation_killmails.v1",
                "esi-killmails.read_killmails.v1",
            ],
        }
        expires_at = datetime.fromisoformat(session["expiresAt"])
        assert timedelta(days=29) < expires_at - datetime.now(UTC) < timedelta(days=31)
        characters = (await asked.query(ME))["data"]["me"]["characters"]
        assert [one["name"] for one in characters] == [me.name]


async def test_no_token_of_eve_leaves_the_server(gateway: Gateway) -> None:
    async with program(gateway) as asked:
        await asked.log_in()
        schema = await asked.query("{ __schema { types { name fields { name } } } }")
        fields = {
            f"{one['name']}.{field['name']}"
            for one in schema["data"]["__schema"]["types"]
            for field in one["fields"] or ()
            if "token" in field["name"].lower()
        }
        assert fields == {"Session.token", "CreatedApiKey.token", "Mutation.refreshToken"}
        assert str(asked.token).count(".") == 0


async def test_refresh_renews_our_session(gateway: Gateway) -> None:
    async with program(gateway) as asked:
        old = (await asked.log_in())["token"]
        answer = await asked.query("mutation { refreshToken { token expiresAt } }")
        asked.token = answer["data"]["refreshToken"]["token"]
        assert asked.token != old
        assert (await asked.query(ME))["data"]["me"]["roles"] == ["user"]
        asked.token = old
        assert code_of(await asked.query(ME)) == "UNAUTHENTICATED"


async def test_logout_ends_the_session(gateway: Gateway) -> None:
    async with program(gateway) as asked:
        await asked.log_in()
        assert (await asked.query("mutation { logout }"))["data"] == {"logout": True}
        assert code_of(await asked.query(ME)) == "UNAUTHENTICATED"


async def test_second_login_adds_a_character(gateway: Gateway) -> None:
    async with program(gateway) as asked:
        await asked.log_in(0)
        await asked.log_in(1)
        assert len((await asked.query(ME))["data"]["me"]["characters"]) == 2


async def _replayed(asked: Any, given: dict[str, str]) -> None:
    await asked.query(AUTHENTICATE, **given)


async def _with_another_secret(asked: Any, given: dict[str, str]) -> None:
    given["secret"] = (await asked.begin())["clientSecret"]


async def _with_another_state(asked: Any, given: dict[str, str]) -> None:
    given["state"] = (await asked.begin())["state"]


async def _with_a_made_up_state(_asked: Any, given: dict[str, str]) -> None:
    given["state"] = "x" * 43


async def _expired(asked: Any, _given: dict[str, str]) -> None:
    async with asked.gateway.database.begin() as connection:
        past = datetime.now(UTC) - timedelta(seconds=1)
        await connection.execute(update(LOGIN_STATES).values(expires_at=past))


async def _with_a_wrong_code(_asked: Any, given: dict[str, str]) -> None:
    given["code"] = "wrong"


async def _without_code(_asked: Any, given: dict[str, str]) -> None:
    given["code"] = ""


async def _sso_down(asked: Any, _given: dict[str, str]) -> None:
    await asked.gateway.switch(sso_status=502)


async def _forged(asked: Any, _given: dict[str, str]) -> None:
    await asked.gateway.switch(sso_token_wrong=["none"])


@pytest.mark.parametrize(
    ("spoil", "code", "reason"),
    [
        (_replayed, "INVALID_STATE", "invalid_state"),
        (_with_another_secret, "INVALID_STATE", "foreign_state"),
        (_with_another_state, "INVALID_STATE", "foreign_state"),
        (_with_a_made_up_state, "INVALID_STATE", "invalid_state"),
        (_expired, "INVALID_STATE", "invalid_state"),
        (_with_a_wrong_code, "LOGIN_REFUSED", "code_refused"),
        (_without_code, "BAD_USER_INPUT", "incomplete"),
        (_sso_down, "SSO_UNAVAILABLE", "sso_unavailable"),
        (_forged, "LOGIN_REFUSED", "token_forged"),
    ],
)
async def test_failed_login_has_a_code(
    gateway: Gateway, spoil: Any, code: str, reason: str
) -> None:
    async with program(gateway) as asked:
        given = await asked.consent(await asked.begin())
        await spoil(asked, given)
        sessions, before = await gateway.rows(select(SESSIONS)), failures(reason)
        assert code_of(await asked.query(AUTHENTICATE, **given)) == code
        assert await gateway.rows(select(SESSIONS)) == sessions
        assert failures(reason) == before + 1


async def test_browser_that_comes_back_from_a_programs_login_is_told_what_to_do(
    gateway: Gateway, browser: Browser
) -> None:
    async with program(gateway) as asked:
        given = await asked.consent(await asked.begin())
        page = await browser.get(f"/auth/callback?code={given['code']}&state={given['state']}")
        assert (page.status, "give it the address of this page" in page.text) == (400, True)
        answer = await asked.query(AUTHENTICATE, **given)
        assert answer["data"]["authenticateWithCode"]["token"]


async def test_login_by_websocket_is_completed_though_the_client_has_gone(
    gateway: Gateway,
) -> None:
    async with program(gateway) as asked:
        given = await asked.consent(await asked.begin())
        await gateway.switch(sso_latency_ms=500)
        payload = {"query": AUTHENTICATE, "variables": given}
        address = f"{gateway.address}/graphql"
        async with asked.http.ws_connect(address, protocols=["graphql-transport-ws"]) as opened:
            await opened.send_json({"type": "connection_init"})
            await opened.send_json({"type": "subscribe", "id": "1", "payload": payload})
            await opened.send_json({"type": "ping"})
            assert [(await opened.receive_json(timeout=5))["type"] for _ in range(2)] == [
                "connection_ack",
                "pong",
            ]
        assert await gateway.rows(select(USERS)) == []
        deadline_s = asyncio.get_running_loop().time() + 5
        while not (users := await gateway.rows(select(USERS))):
            assert asyncio.get_running_loop().time() < deadline_s, "the login was cancelled"
            await asyncio.sleep(0.05)
        assert [user.state for user in users] == ["active"]


async def test_browsers_session_is_not_handed_to_its_scripts(browser: Browser) -> None:
    await browser.log_in()
    assert code_of(await browser.query("mutation { refreshToken { token } }")) == "FORBIDDEN"
