"""Too many logins, logins that aren't set up, and what the log may show."""

import asyncio
import re
from pathlib import Path

import aiohttp
import pytest
from limits import RateLimitItemPerMinute
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.settings import Settings
from api.login import limit
from api.login.limit import LoginLimit, network_of
from deploy.migrate import migrate
from deploy.standin.server import Standin
from tests.api.gateway import serve
from tests.api.login.browser import (
    AUTHENTICATE,
    ME,
    Browser,
    Gateway,
    code_of,
    failures,
    program,
)
from tests.support.processes import start_killstream
from tests.support.redis_server import RedisServer
from tests.support.servers import fresh_database, server_urls

LOGIN = "mutation { login { url } }"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three logins a minute."""
    monkeypatch.setattr(limit, "PER_MINUTE", RateLimitItemPerMinute(3))


@pytest.mark.usefixtures("few")
async def test_too_many_logins_of_one_address_are_refused(
    browser: Browser, gateway: Gateway
) -> None:
    before = failures("rate_limited")
    for _ in range(3):
        assert (await browser.get("/auth/login")).status == 303
    refused = await browser.get("/auth/login")
    assert refused.status == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    async with program(gateway) as asked:
        answer = await asked.query(LOGIN)
        assert code_of(answer) == "RATE_LIMITED"
        assert 0 < answer["errors"][0]["extensions"]["retryAfterSeconds"] <= 60
    assert failures("rate_limited") == before + 2


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("path", ["?code=x&state=y", "?error=access_denied", ""])
async def test_too_many_callbacks_of_one_address_are_refused(browser: Browser, path: str) -> None:
    statuses = [(await browser.get(f"/auth/callback{path}")).status for _ in range(4)]
    assert statuses[3] == 429
    assert 429 not in statuses[:3]
    assert (await browser.get("/auth/login")).status == 303


@pytest.mark.service
@pytest.mark.usefixtures("few")
async def test_gateways_with_one_redis_count_together(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path)
    settings = Settings(data_dir=tmp_path, redis_url=f"redis://127.0.0.1:{redis.port}/0")
    try:
        async with LoginLimit(settings) as one, LoginLimit(settings) as other:
            for gateway in (one, other, one):
                assert await gateway.hit("begin", "192.0.2.1") is None
            assert (await other.hit("begin", "192.0.2.1") or 0) > 0
            assert await other.hit("begin", "192.0.2.2") is None
            assert await other.hit("complete", "192.0.2.1") is None
    finally:
        redis.kill()


@pytest.mark.usefixtures("few")
async def test_each_gateway_counts_by_itself_while_redis_is_away(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, redis_url="redis://127.0.0.1:1/0")
    async with LoginLimit(settings) as limited:
        waits = [await limited.hit("begin", "192.0.2.1") for _ in range(4)]
        assert waits[:3] == [None] * 3
        assert (waits[3] or 0) > 0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unknown", "unknown"),
    ],
)
def test_a_household_is_one_client(address: str, network: str) -> None:
    assert network_of(address) == network


async def test_without_an_application_nobody_can_log_in_and_it_is_said(
    settings: Settings, database: AsyncEngine, standin: Standin, port: int
) -> None:
    disabled = settings.model_copy(update={"eve_client_id": "", "token_keys": SecretStr("")})
    async with serve(disabled, port) as address:
        gateway = Gateway(address, disabled, standin, database)
        async with Browser(gateway) as browser, program(gateway) as asked:
            page = await browser.get("/auth/login")
            assert (page.status, "KILLSTREAM_EVE_CLIENT_ID" in page.text) == (503, True)
            json = await browser.get("/auth/login", headers={"Accept": "application/json"})
            assert (json.status, "KILLSTREAM_EVE_CLIENT_ID" in json.text) == (503, True)
            assert (await browser.get("/auth/callback?code=x&state=y")).status == 503
            assert code_of(await asked.query(LOGIN)) == "LOGIN_DISABLED"
            assert code_of(await asked.query(ME)) == "UNAUTHENTICATED"


async def test_wrong_secret_is_the_operators_matter(
    settings: Settings, database: AsyncEngine, standin: Standin, port: int
) -> None:
    wrong = settings.model_copy(update={"eve_client_secret": SecretStr("wrong")})
    async with (
        serve(wrong, port) as address,
        Browser(Gateway(address, wrong, standin, database)) as browser,
    ):
        before = failures("misconfigured")
        page = await browser.get(await browser.consent())
        assert (page.status, "set up wrongly" in page.text) == (500, True)
        assert failures("misconfigured") == before + 1


@pytest.mark.service
async def test_nothing_secret_is_logged(
    settings: Settings, standin: Standin, port: int, tmp_path: Path
) -> None:
    """By a gateway as an operator runs it, with the log turned up."""
    async with fresh_database() as database_url:
        servers = {"database_url": database_url, "redis_url": server_urls()["redis_url"]}
        more = {"log_level": "debug", "api_port": port, "namespace": "login-log"}
        await _log_in_and_read_the_log(
            settings.model_copy(update=servers | more), standin, tmp_path
        )


async def _log_in_and_read_the_log(logging: Settings, standin: Standin, tmp_path: Path) -> None:
    await migrate(logging)
    log = tmp_path / "api.log"
    started = await start_killstream("api", settings=logging, log=log)
    address = f"http://127.0.0.1:{logging.api_port}"
    gateway = Gateway(address, logging, standin, None)  # type: ignore[arg-type] # not asked
    secrets: set[str] = set()
    try:
        await _until_ready(address)
        async with Browser(gateway) as browser, program(gateway) as asked:
            callback = await browser.consent()
            secrets |= {callback.query["code"], callback.query["state"]}
            assert (await browser.get(callback)).status == 303
            assert (await browser.get(callback)).status == 400
            secrets |= {browser.cookie(f"killstream_{one}").value for one in ("login", "session")}
            given = await asked.consent(await asked.begin())
            wrong = given | {"secret": "x" * 43}
            assert code_of(await asked.query(AUTHENTICATE, **wrong)) == "INVALID_STATE"
            answer = await asked.query(AUTHENTICATE, **given)
            secrets |= {*given.values(), answer["data"]["authenticateWithCode"]["token"]}
            asked.token = "wrong" * 9
            await asked.query(ME)
            secrets.add(asked.token)
    finally:
        assert await started.stop() == 0
    text = log.read_text()
    assert text.count("login.failed") == 3
    assert '"client": "127.0.0.1"' in text
    assert [one for one in secrets if one in text] == []
    assert not re.search(r"eyJ\w|gAAAA|/auth/callback\?", text)
    assert "hush" not in text


async def _until_ready(address: str) -> None:
    async with asyncio.timeout(60), aiohttp.ClientSession() as http:
        while True:
            try:
                async with http.get(f"{address}/health/ready") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
