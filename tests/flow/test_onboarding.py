"""A player logs in with a browser, and has all recent killmails soon; no secret leaks."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from playwright.async_api import BrowserContext, Page
from sqlalchemy import select, update
from yarl import URL

from actors.shared.settings import Settings
from actors.shared.tables import LOGIN_STATES, TOKENS, USERS
from actors.users.vault import open_vault
from deploy.migrate import migrate
from deploy.ports import free_port
from deploy.standin.server import Standin, StandinOptions, start_standin
from deploy.standin.sso.applications import DEVELOPMENT
from tests.support.browser import open_browser
from tests.support.esi import set_faults
from tests.support.login import with_logins
from tests.support.made import a_mail, an_attacker
from tests.support.pipeline import PARTS, Pipeline, pipeline
from tests.support.taps import read_tables, read_topics, recorded_commands, recorded_messages

PILOT, CORPORATION = 90_000_002, 98_000_002
KILLMAILS = 120
WITHIN_S = 60
SECRETS = 14
CONTAINED = {
    "log of api": b"login.failed",
    "log of actors": b"user.login_required",
    "log of streams": b"ready",
    "metrics of api": b"killstream_",
    "metrics of actors": b"killstream_token_refreshes",
    "metrics of streams": b"killstream_",
    "server RabbitMQ": b"sync_character",
    "server Redis": b'"PUBLISH"',
    "table users": b"login_required",
    "table sessions": b"a program",
    "topic killmails.stored": b"killmail_id",
}
"""What was recorded contains this: it is the run's."""
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
        async with pipeline(settings, folder, parts=(), api_port=port) as pipe:
            pipe.metrics_ports = {part: free_port() for part in ("actors", "streams")}
            await pipe.start_all(PARTS)
            yield pipe, standin
    finally:
        await standin.stop()


async def test_a_player_has_all_recent_killmails_within_a_minute(
    servers: Settings, tmp_path: Path
) -> None:
    async with (
        recorded_messages(servers) as messages,
        recorded_commands(servers) as commands,
        running(servers, tmp_path) as (pipe, standin),
        open_browser() as browser,
    ):
        page = await browser.new_page()
        seen_urls = record_urls(page)
        secrets = await log_in(page, pipe)
        await has_all_recent_killmails(page, pipe, standin)
        secrets |= await tokens_of(pipe)
        secrets.add(await create_key(page))
        await refuse_code(page, pipe, standin)
        secrets |= await fail_and_refresh(pipe, standin)
        await refuse_refresh(pipe, standin)
        secrets |= await secrets_of(pipe, browser, seen_urls)
        texts = {f"log of {name}": run.log.read_bytes() for name, run in pipe.running.items()}
        texts |= await metrics_of(pipe)
        texts |= joined("table", await read_tables(pipe.database))
        texts |= joined("topic", await read_topics(servers))
    texts |= joined("server", {"RabbitMQ": messages, "Redis": commands})
    assert [name for name, part in CONTAINED.items() if part not in texts[name]] == []
    assert len(secrets) == SECRETS
    found = {name for name, text in texts.items() for secret in secrets if secret.encode() in text}
    assert found == set(), "a secret is in one of these"


def joined(kind: str, parts: dict[str, list[bytes]]) -> dict[str, bytes]:
    return {f"{kind} {name}": b"\n".join(texts) for name, texts in parts.items()}


async def has_all_recent_killmails(page: Page, pipe: Pipeline, standin: Standin) -> None:
    """Wait until all killmails are there; each was fetched once, also after another sync."""
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


async def create_key(page: Page) -> str:
    """Create an API key, and use it."""
    await page.goto(f"{URL(page.url).origin()}/health/live")
    created = await ask(page, 'mutation { createApiKey(name: "a program") { token } }')
    token: str = created["data"]["createApiKey"]["token"]
    headers = {"Authorization": f"Bearer {token}"}
    url = str(URL(page.url).with_path("/graphql"))
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(url, json={"query": MINE}) as answer,
    ):
        assert len((await answer.json())["data"]["myKillmails"]) == KILLMAILS
    return token


async def refuse_code(page: Page, pipe: Pipeline, standin: Standin) -> None:
    """Come back from EVE with a code that it refuses, and repeats."""
    set_faults(standin, sso_repeats=True)
    await page.goto(f"{pipe.url}/auth/login?scopes=character")
    state = URL(page.url).query["state"]
    callback = URL(f"{pipe.url}/auth/callback").with_query(code="a-code-of-nobody's", state=state)
    answer = await page.goto(str(callback))
    assert answer
    assert answer.status == 400
    assert "a-code-of-nobody's" not in await page.content()


async def fail_and_refresh(pipe: Pipeline, standin: Standin) -> set[str]:
    """Fail a refresh for a while, then refresh the token; give the new tokens."""
    set_faults(
        standin, sso_fail_next=1, sso_error="unavailable", sso_repeats=True, sso_rotation=True
    )
    former = await tokens_of(pipe)
    await make_due(pipe, expires_at=datetime.now(UTC))
    await until_user(pipe, lambda user: "temporarily_unavailable" in (user.last_sync_error or ""))
    assert await tokens_of(pipe) == former
    await make_due(pipe)
    await until_user(pipe, lambda user: user.last_sync_error is None)
    new = await tokens_of(pipe)
    assert not new & former
    return new


async def refuse_refresh(pipe: Pipeline, standin: Standin) -> None:
    """Refuse a refresh for good."""
    set_faults(standin, sso_fail_next=1, sso_repeats=True)
    await make_due(pipe, expires_at=datetime.now(UTC))
    await until_user(pipe, lambda user: user.state == "login_required")


async def make_due(pipe: Pipeline, **changes: Any) -> None:
    """Let the user's next sync be due, and ESI's list be outdated."""
    values = {"next_sync_at": datetime.now(UTC), "list_expires_at": None} | changes
    async with pipe.database.begin() as connection:
        await connection.execute(update(USERS).values(values))


async def until_user(pipe: Pipeline, reached: Callable[[Any], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while True:
            async with pipe.database.connect() as connection:
                user = (await connection.execute(select(USERS))).one()
            if reached(user):
                return
            await asyncio.sleep(0.1)


def record_urls(page: Page) -> list[str]:
    """Record all addresses that the browser visits."""
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    return seen


async def log_in(page: Page, pipe: Pipeline) -> set[str]:
    """Log in as the pilot, as a player does; give the verifier."""
    await page.goto(f"{pipe.url}/auth/login?scopes=character")
    vault = open_vault(pipe.settings)
    async with pipe.database.connect() as connection:
        verifier = vault.decrypt((await connection.scalars(select(LOGIN_STATES.c.verifier))).one())
    await page.locator(f'input[value="{PILOT}"]').check()
    await page.get_by_role("button", name="Authorize").click()
    await page.wait_for_url("**/auth/welcome")
    assert "100 recent killmails" in await page.content()
    return {verifier}


async def ask(page: Page, query: str) -> Any:
    """Send a GraphQL operation from our own page, with the browser's cookie."""
    return await page.evaluate(ASK, query)


def requests(standin: Standin, endpoint: str) -> int:
    return sum(n for key, n in standin.playback.stats.requests.items() if key[1] == endpoint)


async def tokens_of(pipe: Pipeline) -> set[str]:
    vault = open_vault(pipe.settings)
    async with pipe.database.connect() as connection:
        row = (await connection.execute(select(TOKENS))).one()
    return {vault.decrypt(row.access_token), vault.decrypt(row.refresh_token)}


async def secrets_of(pipe: Pipeline, browser: BrowserContext, urls: list[str]) -> set[str]:
    """Give the secrets besides the tokens: cookies, codes, states, and the keys."""
    settings = pipe.settings
    queries = [URL(url).query for url in urls]
    return {
        settings.eve_client_secret.get_secret_value(),
        settings.token_keys.get_secret_value(),
        *(str(cookie.get("value")) for cookie in await browser.cookies()),
        *(query[name] for query in queries for name in ("code", "state") if name in query),
    } - {""}


async def metrics_of(pipe: Pipeline) -> dict[str, bytes]:
    """Read the metrics of each process."""
    ports = pipe.metrics_ports | {"api": pipe.settings.api_port}
    found = {}
    async with aiohttp.ClientSession() as http:
        for part, port in ports.items():
            async with http.get(f"http://127.0.0.1:{port}/metrics") as answer:
                found[f"metrics of {part}"] = await answer.read()
    return found
