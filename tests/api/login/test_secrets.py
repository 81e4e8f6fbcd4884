"""No secret of a login is in the log or the metrics, whatever goes wrong."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import select, text

from actors.shared.database import open_database
from actors.shared.settings import Settings
from actors.shared.tables import LOGIN_STATES
from actors.users.vault import open_vault
from deploy.migrate import migrate
from deploy.standin.server import Standin
from deploy.standin.sso.grants import Grants
from tests.api.login.browser import AUTHENTICATE, ME, Browser, Gateway, Program, code_of, program
from tests.support.processes import start_killstream
from tests.support.servers import fresh_database, server_urls

REFRESH = "mutation { refreshToken { token } }"
CREATE_KEY = 'mutation { createApiKey(name: "bot") { token key { id } } }'
DELETE = "mutation { deleteMyAccount { revokedAtEve } }"


class Secrets:
    """All secrets of a run: what EVE gave, what the gateway gave, and what only it has."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.seen: set[str] = set()

    def add(self, *secrets: str) -> None:
        assert all(len(secret) >= 20 for secret in secrets), "too short to be looked for"
        self.seen.update(secrets)

    async def add_verifiers(self) -> None:
        """Add PKCE's secrets of the logins that are begun."""
        vault = open_vault(self.gateway.settings)
        rows = await self.gateway.rows(select(LOGIN_STATES))
        assert rows
        self.add(*(vault.decrypt(row.verifier) for row in rows))


@pytest.fixture
def given_by_eve(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """All codes and tokens that the stand-in gives."""
    given: set[str] = set()
    give_code, give_refresh = Grants.give_code, Grants.give_refresh_token
    give_access = Grants.give_access_token

    def record(give: Any) -> Any:
        def recorded(self: Grants, *arguments: Any) -> Any:
            secret = give(self, *arguments)
            given.add(secret or arguments[0])
            return secret

        return recorded

    for give in (give_code, give_refresh, give_access):
        monkeypatch.setattr(Grants, give.__name__, record(give))
    return given


@pytest.mark.service
async def test_no_secret_is_logged_or_counted(
    settings: Settings, standin: Standin, port: int, tmp_path: Path, given_by_eve: set[str]
) -> None:
    """By a gateway as an operator runs it, with the log turned up."""
    log = tmp_path / "api.log"
    async with started(settings, standin, port, log) as gateway:
        secrets = Secrets(gateway)
        async with Browser(gateway) as browser, program(gateway) as asked:
            await in_a_browser(browser, secrets)
            await in_a_program(asked, secrets)
            await over_websockets(asked, secrets)
            await while_something_fails(asked, secrets)
        async with aiohttp.ClientSession() as http:
            metrics = await (await http.get(f"{gateway.address}/metrics")).text()
    eves = {"access": 0, "other": 0}
    for secret in given_by_eve:
        eves["access" if secret.startswith("eyJ") else "other"] += 1
    assert eves["access"] >= 4
    assert eves["other"] >= 10
    keys = settings.token_keys.get_secret_value(), settings.eve_client_secret.get_secret_value()
    secrets.seen |= given_by_eve | {*keys}
    shown = log.read_text()
    reasons = ("invalid_state", "foreign_state", "code_refused", "sso_unavailable", "token_forged")
    for reason in (*reasons, "invalid_bearer", "graphql.resolver_failed", "Traceback"):
        assert reason in shown, "the log has what went wrong"
    assert 'killstream_login_failures_total{reason="token_forged"} 1.0' in metrics
    for where, found in (("log", shown), ("metrics", metrics)):
        assert [secret[:6] for secret in secrets.seen if secret in found] == [], where


@asynccontextmanager
async def started(
    settings: Settings, standin: Standin, port: int, log: Path
) -> AsyncIterator[Gateway]:
    """Run `killstream api`."""
    async with fresh_database() as url:
        servers = {"database_url": url, "redis_url": server_urls()["redis_url"]}
        more = {"log_level": "debug", "api_port": port, "namespace": f"secrets-{port}"}
        chosen = settings.model_copy(update=servers | more)
        await migrate(chosen)
        process = await start_killstream("api", settings=chosen, log=log)
        address = f"http://127.0.0.1:{port}"
        try:
            await until_ready(address)
            async with open_database(chosen) as database:
                yield Gateway(address, chosen, standin, database)
        finally:
            assert await process.stop() == 0


async def in_a_browser(browser: Browser, secrets: Secrets) -> None:
    callback = await browser.consent()
    await secrets.add_verifiers()
    secrets.add(callback.query["code"], callback.query["state"])
    assert (await browser.get(callback)).status == 303
    assert (await browser.get(callback)).status == 400
    secrets.add(*(browser.cookie(f"killstream_{name}").value for name in ("login", "session")))
    assert (await browser.get(f"{callback}&state=again")).status == 400
    assert "me" in (await browser.query(ME))["data"]


async def in_a_program(asked: Program, secrets: Secrets) -> None:
    given = await asked.consent(await asked.begin())
    await secrets.add_verifiers()
    wrong = {"secret": "w" * 43, "state": "x" * 43, "code": "y" * 43}
    secrets.add(*given.values(), *wrong.values())
    for name, code in (("secret", "INVALID_STATE"), ("state", "INVALID_STATE")):
        answer = await asked.query(AUTHENTICATE, **(given | {name: wrong[name]}))
        assert code_of(answer) == code
    inline = f'authenticateWithCode(code: "{given["code"]}", state: "{given["state"]}"'
    for document in (f"mutation {{ {inline}) {{ token }} }}", f"mutation {{ {inline}"):
        assert (await asked.query(document))["errors"]
    asked.token = (await asked.query(AUTHENTICATE, **given))["data"]["authenticateWithCode"][
        "token"
    ]
    secrets.add(str(asked.token))
    asked.token = (await asked.query(REFRESH))["data"]["refreshToken"]["token"]
    secrets.add(str(asked.token))
    secrets.add((await asked.query(CREATE_KEY))["data"]["createApiKey"]["token"])
    given = await asked.consent(await asked.begin()) | {"code": wrong["code"]}
    assert code_of(await asked.query(AUTHENTICATE, **given)) == "LOGIN_REFUSED"
    secrets.add(given["state"], given["secret"])


async def over_websockets(asked: Program, secrets: Secrets) -> None:
    wrong = "wrong" * 9
    secrets.add(wrong)
    for token, kind in ((asked.token, "connection_ack"), (wrong, None)):
        url = f"{asked.gateway.address}/graphql"
        async with asked.http.ws_connect(url, protocols=["graphql-transport-ws"]) as socket:
            payload = {"authorization": f"Bearer {token}"}
            await socket.send_json({"type": "connection_init", "payload": payload})
            message = await socket.receive(timeout=10)
            assert message.type == (aiohttp.WSMsgType.TEXT if kind else aiohttp.WSMsgType.CLOSE)


async def while_something_fails(asked: Program, secrets: Secrets) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"sso_status": 503}, "SSO_UNAVAILABLE"),
        ({"sso_lost_next": 1}, "SSO_UNAVAILABLE"),
        ({"sso_token_wrong": ["none"]}, "LOGIN_REFUSED"),
    ]
    for faults, code in cases:
        given = await asked.consent(await asked.begin())
        secrets.add(*given.values())
        await asked.gateway.switch(**faults)
        assert code_of(await asked.query(AUTHENTICATE, **given)) == code
        asked.gateway.standin.playback.reset()
    given = await asked.consent(await asked.begin())
    secrets.add(*given.values())
    async with asked.gateway.database.begin() as connection:
        await connection.execute(text("ALTER TABLE tokens RENAME TO tokens_away"))
    assert code_of(await asked.query(AUTHENTICATE, **given)) == "INTERNAL"
    async with asked.gateway.database.begin() as connection:
        await connection.execute(text("ALTER TABLE tokens_away RENAME TO tokens"))
    await asked.gateway.switch(sso_status=503)
    assert (await asked.query(DELETE))["data"]["deleteMyAccount"] == {"revokedAtEve": False}


async def until_ready(address: str) -> None:
    async with asyncio.timeout(60), aiohttp.ClientSession() as http:
        while True:
            try:
                async with http.get(f"{address}/health/ready") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
