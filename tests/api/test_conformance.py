"""The suites of others find nothing, and the clients of others work, each with its defaults."""

import asyncio
import json
from typing import Any

import aiohttp

from tests.api.gateway import Writer
from tests.test_docs import PROJECT

SUITES = PROJECT / "tests" / "conformance"


async def run(client: aiohttp.ClientSession, script: str) -> Any:
    """Run a script of Node's on the gateway; return what it prints."""
    assert client._base_url
    process = await asyncio.create_subprocess_exec(
        *("node", script, str(client._base_url / "graphql")),
        cwd=SUITES,
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    return json.loads(printed)


async def test_graphql_over_http_is_as_the_draft_says(client: aiohttp.ClientSession) -> None:
    results = await run(client, "audit.mjs")
    assert results["others"] == []
    assert results["ok"] > 50


async def test_clients_of_dashboards_work_as_they_are(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    await writer.add(5)
    given = await run(client, "clients.mjs")
    newest = {"killmails": {"nodes": [{"killmailId": 5}]}}
    for name, expected in (
        ("apollo", newest),
        ("urql", newest),
        ("graphql-ws", {"killmailAdded": {"killmailId": 5}}),
    ):
        data, code = given[name]
        assert without_typenames(data) == expected, name
        assert code == "GRAPHQL_VALIDATION_FAILED", name


def without_typenames(data: Any) -> Any:
    if isinstance(data, list):
        return [without_typenames(one) for one in data]
    if not isinstance(data, dict):
        return data
    return {key: without_typenames(one) for key, one in data.items() if key != "__typename"}
