"""The suites of others find nothing: npm's graphql-http audits GraphQL over HTTP."""

import asyncio
import json

import aiohttp

from tests.test_docs import PROJECT

SUITES = PROJECT / "tests" / "conformance"


async def test_graphql_over_http_is_as_the_draft_says(client: aiohttp.ClientSession) -> None:
    assert client._base_url
    audit = await asyncio.create_subprocess_exec(
        *("node", "audit.mjs", str(client._base_url / "graphql")),
        cwd=SUITES,
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await audit.communicate()
    results = json.loads(printed)
    assert results["others"] == []
    assert results["ok"] > 50
