"""Too many logins, and logins that aren't set up."""

from pathlib import Path

import pytest
from limits import RateLimitItemPerMinute
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.settings import Settings
from api.login import limit
from api.login.limit import LoginLimit, network_of
from deploy.standin.server import Standin
from tests.api.gateway import serve
from tests.api.login.browser import (
    ME,
    Browser,
    Gateway,
    code_of,
    failures,
    program,
)
from tests.support.redis_server import RedisServer

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
