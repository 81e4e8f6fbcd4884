"""GraphiQL runs in a browser without internet, and lets nobody else use a visitor's session."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import aiohttp
import pytest
from playwright.async_api import Page, Route, expect

from api import explorer
from tests.api.gateway import Writer
from tests.support.browser import open_browser

REFUSALS: Final = """
document.addEventListener("securitypolicyviolation", (event) => {
  (window.refused ??= []).push(event.effectiveDirective);
});
"""


@pytest.fixture
async def page(client: aiohttp.ClientSession) -> AsyncIterator[Page]:
    """GraphiQL's page in a browser that reaches nothing but the gateway."""
    assert client._base_url
    address = str(client._base_url).rstrip("/")

    async def reach_gateway_only(route: Route) -> None:
        assert route.request.url.startswith(address), route.request.url
        await route.continue_()

    async with open_browser() as browser:
        opened = await browser.new_page()
        await opened.route(lambda url: url.startswith("http"), reach_gateway_only)
        await opened.add_init_script(REFUSALS)
        await opened.goto(f"{address}/graphql")
        yield opened


async def refused(page: Page) -> list[str]:
    found: list[str] = await page.evaluate("window.refused ?? []")
    return found


async def test_graphiql_shows_killmails_as_they_arrive_and_lets_nobody_else_in(
    page: Page, writer: Writer
) -> None:
    await expect(page.get_by_text("killmailAdded").first).to_be_visible(timeout=20_000)
    await page.get_by_role("button", name="Execute query").click()
    results = page.get_by_role("region", name="Result Window")
    await expect(page.get_by_role("button", name="Stop query")).to_be_visible()
    for number in range(1, 4):
        await writer.add(number)
    await expect(results).to_contain_text("Capsule", timeout=10_000)
    assert await refused(page) == []
    await page.evaluate(
        """async () => {
          const script = document.createElement("script");
          script.textContent = "window.isForeign = true";
          document.body.append(script);
          await fetch("https://evil.example/").catch(() => {});
          await new Promise((done) => setTimeout(done));
        }"""
    )
    assert await page.evaluate("window.isForeign") is None
    assert await refused(page) == ["script-src-elem", "connect-src"]


async def test_no_other_page_may_frame_graphiql(client: aiohttp.ClientSession) -> None:
    async with client.get("/graphql", headers={"Accept": "text/html"}) as answer:
        policy = answer.headers["Content-Security-Policy"].split("; ")
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy


async def test_files_are_compressed_and_sent_once(client: aiohttp.ClientSession) -> None:
    async with client.get("/graphiql/graphiql.js") as answer:
        assert (answer.status, answer.content_type) == (200, "text/javascript")
        assert answer.headers["Content-Encoding"] == "gzip"
        known = {"If-None-Match": answer.headers["ETag"]}
    async with client.get("/graphiql/graphiql.js", headers=known) as answer:
        assert answer.status == 304
    for name in ("build.mjs", "page.html", "..%2fexplorer.py", "graphiql.js.gz"):
        async with client.get(f"/graphiql/{name}") as answer:
            assert answer.status == 404


async def test_without_its_files_the_page_says_how_to_get_them(
    client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(explorer, "ASSETS", tmp_path)
    async with client.get("/graphql", headers={"Accept": "text/html"}) as answer:
        assert (answer.status, answer.content_type) == (200, "text/html")
        assert "just graphiql" in await answer.text()
