"""A player logs in with a browser, and has all recent killmails within a minute."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from playwright.async_api import BrowserContext, Page
from sqlalchemy import select
from yarl import URL

from actors.shared.settings import Settings
from actors.shared.tables import TOKENS
from actors.users.vault import open_vault
from deploy.migrate import migrate
from deploy.ports import free_port
from deploy.standin.server import Standin, StandinOptions, start_standin
from deploy.standin.sso.applications import DEVELOPMENT
from tests.support.browser import open_browser
from tests.support.login import with_logins
from tests.support.made import a_mail, an_attacker
from tests.support.pipeline import Pipeline, pipeline

PILOT, CORPORATION = 90_000_002, 98_000_002
KILLMAILS = 120
WITHIN_S = 60
MINE = "{ myKillmails(limit: 200) { killmailId killmailTime victim { characterId shipTypeId } } }"
ASK = """async (query) => {
    const headers = {"Content-Type": "application/json"}
    const body = JSON.stringify({query})
    return (await fetch("/graphql", {method: "POST", headers, body})).json()
}"""
SYNC = "mutation { syncMyKillmails { success message syncedCount } }"


def write_dataset(path: Path) -> None:
    """Write killmails of the last days in which the pilot took part."""
    pilot = an_attacker(character_id=PILOT, corporation_id=CORPORATION)
    begins = datetime.now(UTC) - timedelta(days=5)
    lines = [
        msgspec.json.encode(
            a_mail(
                130_000_000 + i,
                killmail_time=f"{begins + timedelta(minutes=i):%Y-%m-%dT%H:%M:%SZ}",
                attackers=[pilot],
            )
        )
        for i in range(KILLMAILS)
    ]
    path.write_bytes(gzip.compress(b"\n".join(lines) + b"\n"))


@asynccontextmanager
async def running(servers: Settings, folder: Path) -> AsyncIterator[tuple[Pipeline, Standin]]:
    """Run all parts without a feed: what comes is what the user's sync brings."""
    dataset = folder / "killmails.jsonl.gz"
    write_dataset(dataset)
    port = free_port()
    callback = f"http://127.0.0.1:{port}/auth/callback"
    application = msgspec.structs.replace(DEVELOPMENT, callbacks=(callback,))
    standin = await start_standin(
        StandinOptions(killmails=dataset, applications=(application,), recent_page_size=50)
    )
    settings = with_logins(servers, standin, source="none", api_port=port)
    settings = settings.model_copy(update={"eve_callback_url": callback})
    try:
        await migrate(settings)
        async with pipeline(settings, folder, api_port=port) as pipe:
            yield pipe, standin
    finally:
        await standin.stop()


async def test_a_player_has_all_recent_killmails_within_a_minute(
    servers: Settings, tmp_path: Path
) -> None:
    async with running(servers, tmp_path) as (pipe, standin), open_browser() as browser:
        page = await browser.new_page()
        seen_urls = record_urls(page)
        await log_in(page, pipe.url)
        began_s = time.monotonic()
        await page.goto(f"{pipe.url}/health/live")  # our own origin, without a content policy
        while len(mine := (await ask(page, MINE))["data"]["myKillmails"]) < KILLMAILS:
            assert time.monotonic() - began_s < WITHIN_S, mine
            await asyncio.sleep(0.5)
        times = [one["killmailTime"] for one in mine]
        assert times == sorted(times, reverse=True)
        fetched = requests(standin, "killmail")
        synced = (await ask(page, SYNC))["data"]["syncMyKillmails"]
        assert (synced["success"], synced["syncedCount"]) == (True, 0)
        assert requests(standin, "killmail") == fetched == KILLMAILS
        assert standin.playback.stats.refused == {}
        await page.goto(f"{pipe.url}/auth/welcome")
        assert f"{KILLMAILS} of {KILLMAILS}" in await page.content()
        secrets = await secrets_of(pipe, browser, seen_urls)
        texts = [started.log.read_text() for started in pipe.running.values()]
        texts.append(await metrics_of(pipe))
    assert len(secrets) >= 5
    found = [secret[:6] for secret in secrets for text in texts if secret in text]
    assert found == [], "a secret is in a log or a metric"


def record_urls(page: Page) -> list[str]:
    """Record all addresses that the browser visits."""
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    return seen


async def log_in(page: Page, url: str) -> None:
    """Log in as the pilot, as a player does."""
    await page.goto(f"{url}/auth/login?scopes=character")
    await page.locator(f'input[value="{PILOT}"]').check()
    await page.get_by_role("button", name="Authorize").click()
    await page.wait_for_url("**/auth/welcome")
    assert "100 recent killmails" in await page.content()


async def ask(page: Page, query: str) -> Any:
    """Send a GraphQL operation from our own page, with the browser's cookie."""
    return await page.evaluate(ASK, query)


def requests(standin: Standin, endpoint: str) -> int:
    return sum(n for key, n in standin.playback.stats.requests.items() if key[1] == endpoint)


async def secrets_of(pipe: Pipeline, browser: BrowserContext, urls: list[str]) -> set[str]:
    """Give all secrets of the login: tokens, cookies, codes, states, and the keys."""
    settings = pipe.settings
    vault = open_vault(settings)
    async with pipe.database.connect() as connection:
        (row,) = (await connection.execute(select(TOKENS))).all()
    queries = [URL(url).query for url in urls]
    return {
        vault.decrypt(row.access_token),
        vault.decrypt(row.refresh_token),
        settings.eve_client_secret.get_secret_value(),
        settings.token_keys.get_secret_value(),
        *(str(cookie.get("value")) for cookie in await browser.cookies()),
        *(query[name] for query in queries for name in ("code", "state") if name in query),
    } - {""}


async def metrics_of(pipe: Pipeline) -> str:
    async with aiohttp.ClientSession() as http, http.get(f"{pipe.url}/metrics") as answer:
        return await answer.text()
