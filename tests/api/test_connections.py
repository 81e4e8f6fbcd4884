"""Connections have limits, per client and in all, and what is silent or slow doesn't stay."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest

from actors.shared.settings import Settings
from api import connections
from deploy import http_protocol
from tests.api.gateway import Writer, serve

HEALTH = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


class Gateway:
    """A gateway, and the connections that were made to it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._port = int(address.rpartition(":")[2])
        self.writers: list[asyncio.StreamWriter] = []

    async def connect(self, sent: bytes = b"", of: str = "127.0.0.1") -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(of, 0))
        self.writers.append(writer)
        writer.write(sent)
        return reader

    async def close(self) -> None:
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()


@asynccontextmanager
async def gateway(settings: Settings, **changes: Any) -> AsyncIterator[Gateway]:
    async with serve(settings.model_copy(update=changes)) as address:
        served = Gateway(address)
        try:
            yield served
        finally:
            await served.close()


async def answer(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(5):
        return await reader.read(1 << 20)


async def test_client_has_a_number_of_connections(settings: Settings, writer: Writer) -> None:
    async with gateway(settings, api_connections_per_client=2) as served:
        for _ in range(2):
            assert b" 200 OK" in await answer(await served.connect(HEALTH))
        refused = await answer(await served.connect(HEALTH))
        assert b" 503 " in refused
        assert b"your address has 2 connections already" in refused
        assert b" 200 OK" in await answer(await served.connect(HEALTH, of="127.0.0.2"))
        await served.close()
        while b" 200 OK" not in await answer(await served.connect(HEALTH)):
            pass  # the gateway hasn't seen the end of the others yet


async def test_connections_of_a_proxy_are_not_counted_as_one_clients(
    settings: Settings, writer: Writer
) -> None:
    changes = {"api_connections_per_client": 1, "api_proxies": "127.0.0.1"}
    async with gateway(settings, **changes) as served:
        for _ in range(3):
            assert b" 200 OK" in await answer(await served.connect(HEALTH))


async def test_all_connections_have_a_number(settings: Settings, writer: Writer) -> None:
    async with gateway(settings, api_connections=4) as served:
        for number in (1, 1, 2, 2):
            opened = await served.connect(HEALTH, of=f"127.0.0.{number}")
            assert b" 200 OK" in await answer(opened)
        assert b"too many connections" in await answer(await served.connect(HEALTH, of="127.0.0.3"))


@pytest.fixture
def _1024_files(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have the gateway believe that it may open 1,024 files; the test needs more."""
    monkeypatch.setattr(connections, "_open_files", lambda: 1_024)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    connections.raise_open_files()
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[1]
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("_1024_files")
async def test_silent_connections_lock_nobody_out(settings: Settings, writer: Writer) -> None:
    async with gateway(settings) as served:
        for number in range(1_100):
            await served.connect(of=f"127.0.0.{2 + number % 4}")
        async with aiohttp.ClientSession(served.address) as honest:
            for _ in range(3):
                async with (
                    asyncio.timeout(1),
                    honest.post(
                        "/graphql",
                        json={"query": "{ __typename }"},
                        headers={"Connection": "close"},
                    ) as got,
                ):
                    assert got.status == 200


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"", b""),
        (b"GET /health/live HT", b""),
        (HEALTH[:-2], b""),
        (POST + b"Content-Length: 100\r\n\r\n{", b"HTTP/1.1 408 "),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", b"HTTP/1.1 408 "),
    ],
    ids=["nothing", "a line", "a head", "a body", "a chunk"],
)
async def test_half_a_request_is_not_waited_for(
    settings: Settings,
    writer: Writer,
    monkeypatch: pytest.MonkeyPatch,
    sent: bytes,
    expected: bytes,
) -> None:
    monkeypatch.setattr(http_protocol, "GRACE_S", 0.5)
    monkeypatch.setattr("api.body_limit.DISCARD_S", 0.1)
    async with gateway(settings, api_request_s=0.1) as served:
        reader = await served.connect(sent)
        received = await answer(reader)
        assert received.startswith(expected)
        assert bool(received) == bool(expected)


async def test_half_a_second_request_is_not_waited_for(
    settings: Settings, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "GRACE_S", 0.1)
    async with gateway(settings, api_request_s=0.1) as served:
        reader = await served.connect(HEALTH)
        assert b" 200 OK" in await answer(reader)
        served.writers[-1].write(b"GET /")
        assert await answer(reader) == b""


async def test_answer_that_is_not_read_is_given_up(
    settings: Settings, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "READ_S", 0.1)
    request = b"GET /asyncapi.yaml HTTP/1.1\r\nHost: x\r\n\r\n"
    async with gateway(settings) as served:
        reader = await served.connect(request)
        one = len(await answer(reader))
        assert one > 1_000
        unread = await served.connect()
        transport: Any = served.writers[-1].transport
        transport.pause_reading()
        transport.write(request * 500)
        await asyncio.sleep(0.5)  # nothing to await: a client learns of the end by reading
        transport.resume_reading()
        received = 0
        with suppress(ConnectionError):
            while part := await answer(unread):
                received += len(part)
        assert received < 500 * one
