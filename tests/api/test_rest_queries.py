"""Simple reads by GET: the same as GraphQL has, described, with ETag, HEAD and gzip."""

import gzip
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import jsonschema
import pytest

from actors.shared.settings import Settings
from tests.api.gateway import Writer, a_killmail, query, serve
from tests.api.test_objects import ANN, FIGHT, RED, RIFTER, load_entities, load_static_data


@pytest.fixture
async def client(settings: Settings, writer: Writer) -> AsyncIterator[aiohttp.ClientSession]:
    await load_static_data(writer)
    await load_entities(writer)
    await writer.store(a_killmail(6))
    await writer.store(a_killmail(7, **FIGHT), zkb={"totalValue": 1e6})
    async with serve(settings) as address, aiohttp.ClientSession(address) as session:
        yield session


async def get(client: aiohttp.ClientSession, path: str, status: int = 200) -> Any:
    async with client.get(path) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def test_a_killmail_has_names(client: aiohttp.ClientSession) -> None:
    killmail = await get(client, "/api/killmails/7")
    assert killmail["regionName"] == "The Forge"
    assert killmail["victim"]["characterName"] == "Ann Alpha"
    assert killmail["victim"]["items"][5]["items"][0]["itemTypeName"] == "EMP S"
    assert killmail["attackers"][1]["weaponTypeName"] == "125mm Gatling AutoCannon I"
    assert killmail["zkb"]["totalValue"] == 1e6


async def test_a_list_takes_filters_and_goes_on(client: aiohttp.ClientSession) -> None:
    page = await get(client, "/api/killmails?first=1")
    assert [one["killmailId"] for one in page["nodes"]] == [7]
    more = await get(client, f"/api/killmails?after={page['pageInfo']['endCursor']}")
    assert [one["killmailId"] for one in more["nodes"]] == [6]
    none = await get(client, "/api/killmails?victim.shipTypeId=11,12&orderBy=value")
    assert (none["nodes"], none["complete"]) == ([], True)
    for wrong, says in (
        ("first=0", "1 to 200"),
        ("first=x", "first"),
        ("orderBy=name", "orderBy"),
        ("after=x", "not a cursor"),
        ("colour=red", "colour"),
        ("victim.shipTypeId=x", "victim.shipTypeId"),
    ):
        assert says in (await get(client, f"/api/killmails?{wrong}", 400))["error"]


async def test_entities_are_read_and_found(client: aiohttp.ClientSession) -> None:
    assert (await get(client, f"/api/alliances/{RED}"))["ticker"] == "RED"
    assert (await get(client, f"/api/characters/{ANN}"))["name"] == "Ann Alpha"
    assert (await get(client, f"/api/types/{RIFTER}"))["volume"] == 27_289.0
    assert (await get(client, "/api/solar-systems/30000142"))["spaceBand"] == "highsec"
    found = await get(client, "/api/search?name=red&first=5")
    assert [one["name"] for one in found["alliances"]] == ["Red Alliance"]
    assert found["regions"] == []
    for path, status in (
        ("/api/alliances/1", 404),
        ("/api/killmails/8", 404),
        ("/api/killmails/x", 400),
        (f"/api/types/{2**64}", 400),
        ("/api/search", 400),
        ("/api/search?name=%20", 400),
        ("/api/search?name=a&first=101", 400),
        ("/api/nothing/1", 404),
    ):
        assert "error" in await get(client, path, status)


async def test_answers_are_as_openapi_describes_them(client: aiohttp.ClientSession) -> None:
    described = (await get(client, "/openapi.json"))["paths"]
    for path, asked in (
        ("/api/killmails/{id}", "/api/killmails/7"),
        ("/api/killmails", "/api/killmails"),
        ("/api/search", "/api/search?name=r"),
        ("/api/characters/{id}", f"/api/characters/{ANN}"),
        ("/api/types/{id}", f"/api/types/{RIFTER}"),
    ):
        operation = described[path]["get"]
        assert operation["description"]
        assert all(one["description"] for one in operation["parameters"])
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.validate(await get(client, asked), schema)
        assert "additionalProperties" not in schema
    names = [one["name"] for one in described["/api/killmails"]["get"]["parameters"]]
    assert {"first", "after", "orderBy", "filter", "victim.shipTypeId"} <= set(names)


async def test_what_the_client_has_is_not_sent_again(client: aiohttp.ClientSession) -> None:
    for path in ("/api/killmails/7", "/api/killmails", "/killmails/7", "/asyncapi.yaml"):
        async with client.get(path) as answer:
            etag, body = answer.headers["ETag"], await answer.read()
        async with client.get(path, headers={"If-None-Match": etag}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
        async with client.head(path, headers={"Accept-Encoding": "identity"}) as answer:
            assert (answer.status, await answer.read()) == (200, b"")
            assert int(answer.headers["Content-Length"]) == len(body)


async def test_long_answers_are_compressed_and_streams_are_not(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    gzipped = {"Accept-Encoding": "gzip"}
    async with client.get("/api/killmails/7", headers={"Accept-Encoding": "identity"}) as answer:
        assert "Content-Encoding" not in answer.headers
        plain, etag = await answer.read(), answer.headers["ETag"]
    address = client._base_url
    async with aiohttp.ClientSession(address, auto_decompress=False) as raw:
        async with raw.get("/api/killmails/7", headers=gzipped) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert answer.headers["ETag"] == f"W/{etag}"
            assert gzip.decompress(await answer.read()) == plain
        async with raw.get("/health/live", headers=gzipped) as answer:
            assert "Content-Encoding" not in answer.headers
        for path, kind in (
            ("/feed.ndjson?after=0", "ndjson"),
            ("/feed.sse?after=0", "event-stream"),
        ):
            async with raw.get(path, headers=gzipped) as answer:
                assert kind in answer.headers["Content-Type"]
                assert "Content-Encoding" not in answer.headers
                assert await answer.content.readline()


async def test_reads_are_charged_like_graphql(client: aiohttp.ClientSession) -> None:
    document = "{ limits { costRemaining costPerMinute } }"

    async def left() -> int:
        remaining: int = (await query(client, document))["data"]["limits"]["costRemaining"]
        return remaining

    before = await left()
    for _ in range(5):
        await get(client, "/api/search?name=r")
    assert before - await left() > 50_000
