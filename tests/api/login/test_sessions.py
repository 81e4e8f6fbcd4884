"""Whose request it is: cookies of our own pages, bearer tokens, and nothing else."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from sqlalchemy import Select, select, update

from actors.shared.tables import SESSIONS
from api.database import ReadDatabase
from api.login import watch
from tests.api.gateway import Writer
from tests.api.login.browser import ME, Browser, Gateway, code_of, failures, program

FOREIGN = "https://evil.example"
LOGOUT = "mutation { logout }"
PROTOCOLS = ["graphql-transport-ws"]


async def test_foreign_page_can_change_nothing_with_its_visitors_cookie(
    browser: Browser, gateway: Gateway
) -> None:
    await browser.log_in()
    before = failures("foreign_origin")
    for origin in (FOREIGN, "null", gateway.address.replace("127.0.0.1", "localhost"), None):
        assert code_of(await browser.query(LOGOUT, origin=origin)) == "UNAUTHENTICATED"
    assert failures("foreign_origin") == before + 4
    page = await browser.send("POST", "/auth/logout", headers={"Origin": FOREIGN})
    assert page.status == 401
    assert len(await gateway.rows(select(SESSIONS))) == 1
    assert (await browser.query(LOGOUT))["data"] == {"logout": True}


async def test_foreign_pages_websocket_is_anonymous(browser: Browser, gateway: Gateway) -> None:
    await browser.log_in()
    for origin, is_ours in ((FOREIGN, False), (None, False), (gateway.address, True)):
        async with socket(browser.http, gateway, origin=origin) as (opened, _):
            result = await ask(opened, ME)
            if is_ours:
                assert result["data"]["me"]["roles"] == ["user"]
            else:
                assert code_of(result) == "UNAUTHENTICATED"


async def test_no_browser_is_told_to_send_cookies_to_us_from_elsewhere(
    browser: Browser, gateway: Gateway
) -> None:
    await browser.log_in()
    asked = {
        "Origin": FOREIGN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    preflight = await browser.send("OPTIONS", "/graphql", headers=asked)
    assert preflight.status == 200
    assert "authorization" in preflight.headers["Access-Control-Allow-Headers"]
    answer = await browser.get("/auth/welcome", headers={"Origin": FOREIGN})
    for headers in (preflight.headers, answer.headers):
        assert "Access-Control-Allow-Origin" in headers
        assert "Access-Control-Allow-Credentials" not in headers


async def test_get_changes_nothing(browser: Browser, gateway: Gateway) -> None:
    await browser.log_in()
    for accept in ("text/html", "application/json"):
        answer = await browser.get("/graphql", params={"query": LOGOUT}, headers={"Accept": accept})
        assert '"data"' not in answer.text
    assert (await browser.get("/auth/logout")).status == 405
    assert len(await gateway.rows(select(SESSIONS))) == 1


async def test_wrong_bearer_token_is_an_error_and_not_anonymous(gateway: Gateway) -> None:
    async with program(gateway) as asked:
        await asked.log_in()
        right, before = asked.token, failures("invalid_bearer")
        for wrong in ("x" * 43, "", f"{right}x"):
            asked.token = wrong
            async with asked.http.post(
                f"{gateway.address}/graphql",
                json={"query": KILLMAIL},
                headers={"Authorization": f"Bearer {wrong}"},
            ) as answer:
                assert answer.status == 401
                assert answer.headers["WWW-Authenticate"].startswith("Bearer")
                assert code_of(await answer.json()) == "UNAUTHENTICATED"
        assert failures("invalid_bearer") == before + 3


async def test_expired_session_is_over(gateway: Gateway, browser: Browser) -> None:
    await browser.log_in()
    async with program(gateway) as asked:
        await asked.log_in(1)
        past = datetime.now(UTC) - timedelta(seconds=1)
        async with gateway.database.begin() as connection:
            await connection.execute(update(SESSIONS).values(expires_at=past))
        assert code_of(await asked.query(ME)) == "UNAUTHENTICATED"
    assert code_of(await browser.query(ME)) == "UNAUTHENTICATED"


async def test_websocket_takes_a_bearer_token_from_its_connection_params(
    gateway: Gateway,
) -> None:
    async with program(gateway) as asked:
        session = await asked.log_in()
        params = {"authorization": f"Bearer {session['token']}"}
        async with socket(asked.http, gateway, params=params) as (opened, ack):
            assert ack == {"type": "connection_ack"}
            assert (await ask(opened, ME))["data"]["me"]["roles"] == ["user"]
        headers = {"Authorization": f"Bearer {session['token']}"}
        async with socket(asked.http, gateway, headers=headers) as (opened, _):
            assert (await ask(opened, ME))["data"]["me"]["roles"] == ["user"]
        wrong = {"authorization": "Bearer wrong"}
        async with asked.http.ws_connect(f"{gateway.address}/graphql", protocols=PROTOCOLS) as ws:
            await ws.send_json({"type": "connection_init", "payload": wrong})
            assert (await ws.receive()).type == aiohttp.WSMsgType.CLOSE
            assert ws.close_code == 4403


@pytest.mark.parametrize("key", ["authorization", "Authorization", "AUTHORIZATION"])
async def test_authorization_of_a_websocket_may_be_written_in_any_case(
    gateway: Gateway, key: str
) -> None:
    async with program(gateway) as asked:
        params = {key: f"bearer {(await asked.log_in())['token']}"}
        async with socket(asked.http, gateway, params=params) as (opened, _):
            assert (await ask(opened, ME))["data"]["me"]["roles"] == ["user"]


@pytest.mark.parametrize("scheme", ["", "Basic ", "Token "])
async def test_authorization_of_a_websocket_without_its_scheme_is_refused(
    gateway: Gateway, scheme: str
) -> None:
    async with program(gateway) as asked:
        before = failures("invalid_bearer")
        params = {"authorization": f"{scheme}{(await asked.log_in())['token']}"}
        async with asked.http.ws_connect(f"{gateway.address}/graphql", protocols=PROTOCOLS) as ws:
            await ws.send_json({"type": "connection_init", "payload": params})
            message = await ws.receive(timeout=10)
            assert (message.type, ws.close_code) == (aiohttp.WSMsgType.CLOSE, 4403)
            assert message.extra == "Authorization: must be `Bearer`, a space, and a token"
        assert failures("invalid_bearer") == before + 1


async def test_header_without_its_scheme_is_refused_and_another_scheme_is_not_ours(
    gateway: Gateway,
) -> None:
    async with program(gateway) as asked:
        token, before = (await asked.log_in())["token"], failures("invalid_bearer")
        answers = []
        for header in (token, f"Basic {token}"):
            async with asked.http.post(
                f"{gateway.address}/graphql",
                json={"query": "{ authStatus { isAuthenticated } }"},
                headers={"Authorization": header},
            ) as answer:
                answers.append((answer.status, (await answer.json()).get("data")))
        assert answers == [(401, None), (200, {"authStatus": {"isAuthenticated": False}})]
        assert failures("invalid_bearer") == before + 1


@pytest.mark.parametrize("kind", ["cookie", "bearer"])
async def test_websocket_ends_with_its_session(
    gateway: Gateway, browser: Browser, writer: Writer, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    await writer.add(1)
    assert watch.CHECK_S <= 60
    monkeypatch.setattr(watch, "CHECK_S", 0.2)
    await browser.log_in()
    async with program(gateway) as asked:
        session = await asked.log_in(1)
        params = {"authorization": f"Bearer {session['token']}"} if kind == "bearer" else {}
        http = asked.http if kind == "bearer" else browser.http
        async with socket(http, gateway, origin=gateway.address, params=params) as (opened, _):
            # Its result shows that the subscription has begun before the session ends.
            assert await ask(opened, FEED) == {"data": {"killmailAdded": {"sequence": 1}}}
            await (asked if kind == "bearer" else browser).query(LOGOUT)
            message = await opened.receive(timeout=10)
            assert (message.type, opened.close_code) == (aiohttp.WSMsgType.CLOSE, 4403)


async def test_open_websocket_is_no_use_of_its_session(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "CHECK_S", 0.1)
    async with program(gateway) as asked:
        params = {"authorization": f"Bearer {(await asked.log_in())['token']}"}
        async with socket(asked.http, gateway, params=params):
            past = datetime.now(UTC) - timedelta(days=1)
            async with gateway.database.begin() as connection:
                await connection.execute(update(SESSIONS).values(used_at=past))
            queries = recorded_queries(monkeypatch)
            async with asyncio.timeout(10):
                while len([one for one in queries if "sessions" in one]) < 4:
                    await asyncio.sleep(0.05)
        (row,) = await gateway.rows(select(SESSIONS))
        assert row.used_at == past


async def test_websocket_ends_when_its_session_cannot_be_read(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "CHECK_S", 0.2)
    async with program(gateway) as asked:
        params = {"authorization": f"Bearer {(await asked.log_in())['token']}"}
        async with socket(asked.http, gateway, params=params) as (opened, _):
            async with gateway.database.begin() as connection:
                await connection.exec_driver_sql("DROP TABLE sessions")
            message = await opened.receive(timeout=10)
            assert (message.type, opened.close_code) == (aiohttp.WSMsgType.CLOSE, 1013)


async def test_query_on_a_websocket_is_refused_as_soon_as_the_session_has_ended(
    gateway: Gateway,
) -> None:
    async with program(gateway) as asked:
        session = await asked.log_in()
        params = {"authorization": f"Bearer {session['token']}"}
        async with socket(asked.http, gateway, params=params) as (opened, _):
            await asked.query(LOGOUT)
            await opened.send_json({"type": "subscribe", "id": "1", "payload": {"query": ME}})
            message = await opened.receive_json(timeout=10)
            assert message["type"] == "error"
            assert message["payload"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_anonymous_requests_ask_the_database_nothing_more(
    gateway: Gateway, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await writer.add(1)
    queries = recorded_queries(monkeypatch)
    async with program(gateway) as asked:
        assert (await asked.query(KILLMAIL))["data"]["killmail"] == {"killmailId": 1}
        assert queries == []
        await asked.log_in()
        await asked.query(KILLMAIL)
    assert len([one for one in queries if "sessions" in one]) == 1


def recorded_queries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record each query for one row from now on."""
    queries: list[str] = []
    fetch_one = ReadDatabase.fetch_one

    async def record(self: ReadDatabase, query: Select[Any]) -> Any:
        found = await fetch_one(self, query)
        queries.append(str(query))
        return found

    monkeypatch.setattr(ReadDatabase, "fetch_one", record)
    return queries


KILLMAIL = "{ killmail(id: 1) { killmailId } }"
FEED = "subscription { killmailAdded(after: 0) { sequence } }"


def socket(
    http: aiohttp.ClientSession,
    gateway: Gateway,
    *,
    origin: str | None = None,
    params: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> Any:
    return _Socket(http, gateway, origin, params, headers or {})


class _Socket:
    def __init__(
        self,
        http: aiohttp.ClientSession,
        gateway: Gateway,
        origin: str | None,
        params: dict[str, str] | None,
        headers: dict[str, str],
    ) -> None:
        if origin is not None:
            headers = headers | {"Origin": origin}
        self._params = params
        self._connecting = http.ws_connect(
            f"{gateway.address}/graphql", protocols=PROTOCOLS, headers=headers
        )

    async def __aenter__(self) -> tuple[aiohttp.ClientWebSocketResponse, Any]:
        opened = await self._connecting.__aenter__()
        await opened.send_json({"type": "connection_init", "payload": self._params})
        return opened, await opened.receive_json(timeout=10)

    async def __aexit__(self, *error: Any) -> None:
        await self._connecting.__aexit__(*error)


async def ask(opened: aiohttp.ClientWebSocketResponse, document: str) -> Any:
    await opened.send_json({"type": "subscribe", "id": "q", "payload": {"query": document}})
    message = await opened.receive_json(timeout=10)
    assert message["type"] == "next", message
    return message["payload"]
