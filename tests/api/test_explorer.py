"""GraphiQL's page runs in a browser as it should, and lets nobody else use a visitor's session."""

from collections.abc import AsyncIterator
from typing import Final

import aiohttp
import pytest
from playwright.async_api import Page, Route, expect

from tests.support.browser import open_browser

MODULE: Final = """
export const GraphiQL = "graphiql";
export const createGraphiQLFetcher = (options) => {
  const worker = new Worker(URL.createObjectURL(new Blob(["postMessage('worked')"])));
  worker.onmessage = async ({data}) => {
    const body = JSON.stringify({query: "{ __typename }"});
    const headers = {"Content-Type": "application/json"};
    const answer = await (await fetch(options.url, {method: "POST", body, headers})).json();
    new WebSocket(options.subscriptionUrl, "graphql-transport-ws").onopen = () => {
      document.title = `${data} ${answer.data.__typename}`;
    };
  };
};
export default {
  createElement: () => null,
  createRoot: () => ({render: () => import("@emotion/is-prop-valid")}),
};
"""
"""Does what GraphiQL's modules do: a worker from a blob, requests, a websocket, an empty module."""
REFUSALS: Final = """
document.addEventListener("securitypolicyviolation", (event) => {
  (window.refused ??= []).push(event.effectiveDirective);
});
"""


@pytest.fixture
async def page(client: aiohttp.ClientSession) -> AsyncIterator[Page]:
    """GraphiQL's page, whose scripts come from us in place of esm.sh."""
    async with open_browser() as browser:

        async def serve_module(route: Route) -> None:
            headers = {"Access-Control-Allow-Origin": "*"}
            is_style = route.request.url.endswith(".css")
            await route.fulfill(
                body="" if is_style else MODULE,
                content_type="text/css" if is_style else "text/javascript",
                headers=headers,
            )

        await browser.route("https://esm.sh/**", serve_module)
        opened = await browser.new_page()
        await opened.add_init_script(REFUSALS)
        async with client.get("/graphql") as answer:
            await opened.goto(str(answer.url))
        yield opened


async def refused(page: Page) -> list[str]:
    found: list[str] = await page.evaluate("window.refused ?? []")
    return found


async def test_policy_lets_graphiql_work_and_nobody_else(page: Page) -> None:
    await expect(page).to_have_title("worked Query", timeout=10_000)
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
