"""A request body that is too long gets 413 and is not read, however its length is said."""

import asyncio
import io
from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest

from api.body_limit import MAX_BODY_BYTES

QUERY = msgspec.json.encode({"query": "{ __typename }"})
JSON = {"Content-Type": "application/json"}


async def test_body_of_exactly_the_limit_is_accepted(client: aiohttp.ClientSession) -> None:
    body = QUERY.ljust(MAX_BODY_BYTES)
    async with client.post("/graphql", data=body, headers=JSON) as answer:
        assert answer.status == 200
        assert (await answer.json())["data"] == {"__typename": "Query"}


@pytest.mark.parametrize("path", ["/graphql", "/health", "/nothing"])
async def test_longer_body_gets_413(client: aiohttp.ClientSession, path: str) -> None:
    body = io.BytesIO(QUERY.ljust(MAX_BODY_BYTES + 1))
    async with client.post(path, data=body, headers=JSON) as answer:
        assert answer.status == 413
        assert str(MAX_BODY_BYTES) in (await answer.json())["error"]
        assert answer.headers["Connection"] == "close"


async def test_longer_body_without_a_length_gets_413(client: aiohttp.ClientSession) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield QUERY
        for _ in range(40):
            yield b" " * 64 * 1024

    async with client.post("/graphql", data=chunks(), headers=JSON) as answer:
        assert answer.status == 413


async def test_answer_comes_before_the_body(client: aiohttp.ClientSession) -> None:
    base = client._base_url
    assert base
    assert base.host
    reader, writer = await asyncio.open_connection(base.host, base.port)
    writer.write(
        b"POST /graphql HTTP/1.1\r\nHost: x\r\nOrigin: http://a\r\n"
        b"Content-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n"
    )
    async with asyncio.timeout(2):
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"access-control-allow-origin: *" in head, "a browser's script may read it"
    async with asyncio.timeout(10):
        assert (await reader.read()).startswith(b'{"error":')  # and the connection ends
    writer.close()


async def test_many_small_requests_on_one_connection_stay_within_the_limit(
    client: aiohttp.ClientSession,
) -> None:
    for _ in range(3):
        body = QUERY.ljust(MAX_BODY_BYTES // 2)
        async with client.post("/graphql", data=body, headers=JSON) as answer:
            assert answer.status == 200
