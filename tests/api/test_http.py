"""GraphQL over HTTP: media types, statuses, GET, pages of other origins, and what clients pay."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from actors.shared.settings import Settings
from tests.api.gateway import Writer, serve

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
OK = "{ __typename }"


@asynccontextmanager
async def serving(settings: Settings, **changes: Any) -> AsyncIterator[aiohttp.ClientSession]:
    changed = settings.model_copy(update=changes)
    async with serve(changed) as address, aiohttp.ClientSession(address) as session:
        yield session


async def post(
    client: aiohttp.ClientSession, document: Any, **headers: str
) -> tuple[aiohttp.ClientResponse, Any]:
    async with client.post("/graphql", json={"query": document}, headers=headers) as answer:
        return answer, await answer.json()


@pytest.mark.parametrize(
    ("accept", "document", "status", "content_type"),
    [
        ("*/*", OK, 200, JSON),
        (GRAPHQL, OK, 200, GRAPHQL),
        (f"{GRAPHQL}, {JSON}", OK, 200, GRAPHQL),
        (f"{JSON};q=0.9, {GRAPHQL};q=0.1", OK, 200, JSON),
        ("application/*", OK, 200, JSON),
        ("image/png", OK, 200, JSON),
        (";q=x,,=;", OK, 200, JSON),
        (JSON, "{ nothing }", 200, JSON),
        (GRAPHQL, "{ nothing }", 400, GRAPHQL),
        (GRAPHQL, "{", 400, GRAPHQL),
        (GRAPHQL, "subscription { feedAdded { sequence } }", 400, GRAPHQL),
        (GRAPHQL, '{ killmails(after: "x") { complete } }', 200, GRAPHQL),
        (JSON, 5, 400, JSON),
    ],
)
async def test_media_type_and_status_are_as_the_client_asked(
    client: aiohttp.ClientSession, accept: str, document: Any, status: int, content_type: str
) -> None:
    answer, body = await post(client, document, Accept=accept)
    assert (answer.status, answer.content_type) == (status, content_type)
    assert answer.charset == "utf-8"
    assert ("errors" in body) == (document is not OK)
    assert all(error["extensions"]["code"] for error in body.get("errors", ()))


async def test_queries_are_executed_by_get_and_mutations_are_not(
    client: aiohttp.ClientSession,
) -> None:
    query = {
        "query": "query A($id: Long!) { killmail(id: $id) { killmailId } } query B { __typename }",
        "variables": '{"id": 5}',
        "operationName": "A",
        "extensions": "",
    }
    async with client.get("/graphql", params=query) as answer:
        assert (answer.status, answer.content_type) == (200, JSON)
        assert (await answer.json())["data"] == {"killmail": None}
        assert answer.headers["Cache-Control"] == "private, no-store"
    async with client.get("/graphql", params={"query": "mutation { logout }"}) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    async with client.get("/graphql", params={"query": OK, "variables": "["}) as answer:
        assert answer.status == 400
    async with client.head("/graphql", params={"query": OK}) as answer:
        assert answer.status == 200
    async with client.put("/graphql", json={"query": OK}) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, POST")


async def test_browser_that_opens_an_address_gets_graphiql(client: aiohttp.ClientSession) -> None:
    for parameters in ({}, {"query": OK}):
        headers = {"Accept": BROWSER}
        async with client.get("/graphql", params=parameters, headers=headers) as answer:
            assert (answer.status, answer.content_type) == (200, "text/html")


async def test_pages_of_the_named_origins_only_may_ask(settings: Settings, writer: Writer) -> None:
    ask = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    async with serving(settings, api_origins="https://a.example, https://b.example") as client:
        for origin, status in (("https://b.example", 200), ("https://evil.example", 400)):
            async with client.options("/graphql", headers=ask | {"Origin": origin}) as answer:
                assert answer.status == status
            answer, _ = await post(client, OK, Origin=origin)
            allowed = answer.headers.get("Access-Control-Allow-Origin")
            assert allowed == (origin if status == 200 else None)
            if status == 200:
                exposed = answer.headers["Access-Control-Expose-Headers"]
                assert {"RateLimit", "ETag", "Retry-After"} <= set(exposed.split(", "))


async def test_client_pays_for_its_operations_until_its_budget_is_used_up(
    settings: Settings, writer: Writer
) -> None:
    document = "{ feed(after: 0) { lastSequence } limits { costPerMinute costRemaining } }"
    async with serving(settings, api_cost_per_minute=12_000) as client:
        answer, body = await post(client, document)
        cost = body["extensions"]["cost"]
        assert cost == {"operation": 5_105, "limit": settings.api_operation_cost}
        left = 12_000 - cost["operation"] - len(document)
        assert body["data"]["limits"]["costPerMinute"] == 12_000
        assert left <= body["data"]["limits"]["costRemaining"] < left + 1_000, "5 s come back"
        assert answer.headers["RateLimit-Policy"] == '"cost";q=12000;w=60'
        remaining = answer.headers["RateLimit"].split(";")[1].removeprefix("r=")
        assert left <= int(remaining) < left + 1_000
        await post(client, document)
        answer, body = await post(client, document)
        assert (answer.status, "data" in body) == (429, False)
        (error,) = body["errors"]
        assert error["extensions"]["code"] == "RATE_LIMITED"
        assert int(answer.headers["Retry-After"]) == error["extensions"]["retryAfterSeconds"] <= 60
        answer, body = await post(client, OK)
        assert answer.status == 200, "what is cheap still fits"


async def test_operation_above_the_limit_is_refused_with_its_cost(
    settings: Settings, writer: Writer
) -> None:
    async with serving(settings, api_operation_cost=1_000) as client:
        _, body = await post(client, "{ feed(after: 0) { lastSequence } }")
        (error,) = body["errors"]
        assert error["extensions"] == {"code": "TOO_COMPLEX", "cost": 5_002, "limit": 1_000}


async def test_answer_and_time_have_limits(settings: Settings, writer: Writer) -> None:
    await writer.add(*range(1, 21))
    document = "{ feed(after: 0) { entries { sequence killmail { killmailHash } } } }"
    for change, code in (
        ({"api_answer_bytes": 1_000}, "ANSWER_TOO_LONG"),
        ({"api_operation_s": 1e-6}, "TIMEOUT"),
    ):
        async with serving(settings, **change) as client:
            answer, body = await post(client, document, Accept=GRAPHQL)
            assert (answer.status, body["data"]) == (200, None)
            assert body["errors"][0]["extensions"]["code"] == code


async def test_client_is_who_the_trusted_proxies_say(settings: Settings, writer: Writer) -> None:
    spoofed = {"X-Forwarded-For": "10.9.9.9, 192.0.2.7"}
    level = "{ limits { costRemaining } }"
    for proxies, is_believed in (("", False), ("127.0.0.0/8, 10.0.0.0/8", True)):
        changes = {"api_proxies": proxies, "api_closed": "metrics", "api_trusted": "192.0.2.0/24"}
        async with serving(settings, **changes, api_cost_per_minute=600) as client:
            await post(client, level)
            _, mine = await post(client, level, **spoofed)
            used = 600 - mine["data"]["limits"]["costRemaining"]
            assert (used <= mine["extensions"]["cost"]["operation"]) == is_believed
            async with client.get("/metrics", headers=spoofed) as answer:
                assert answer.status == (200 if is_believed else 403)


async def test_parts_are_closed_to_strangers(settings: Settings, writer: Writer) -> None:
    closed = "introspection, graphiql, metrics, redis"
    schema = '{ __type(name: "Killmail") { name } }'
    for trusted, is_open in (("", False), ("127.0.0.1", True)):
        async with serving(settings, api_closed=closed, api_trusted=trusted) as client:
            for path in ("/graphql", "/metrics", "/health/redis"):
                async with client.get(path, headers={"Accept": BROWSER}) as answer:
                    assert answer.status == (200 if is_open else 403), path
            _, body = await post(client, schema)
            if is_open:
                assert body["data"]["__type"]
            else:
                assert body["errors"][0]["extensions"]["code"] == "FORBIDDEN"
            _, body = await post(client, OK)
            assert body["data"]


async def test_no_redirect_names_a_scheme(client: aiohttp.ClientSession) -> None:
    for path in ("/", "/graphql/", "/health/", "/killmails/5/", "/auth/login/"):
        async with client.get(path, allow_redirects=False) as answer:
            assert "://" not in answer.headers.get("Location", ""), path
            assert answer.status in (307, 404), path


async def test_wrong_token_is_refused_whatever_is_asked(client: aiohttp.ClientSession) -> None:
    headers = {"Authorization": "Bearer wrong", "Accept": BROWSER}
    for parameters in ({}, {"query": OK}):
        async with client.get("/graphql", params=parameters, headers=headers) as answer:
            assert (answer.status, answer.content_type) == (401, JSON)
            assert "Bearer" in answer.headers["WWW-Authenticate"]
