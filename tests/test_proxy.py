"""The tests' own proxy: forwards, goes silent without closing, resumes, closes."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from tests.support.proxy import Proxy, open_proxy
from tests.support.servers import server_urls

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """A proxy before a server that echoes."""
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with open_proxy(f"echo://127.0.0.1:{port}") as opened:
        yield opened
    server.close()


@pytest.fixture
async def client(proxy: Proxy) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    yield reader, writer
    writer.close()


async def echoed(streams: Streams, data: bytes) -> bytes:
    reader, writer = streams
    writer.write(data)
    async with asyncio.timeout(0.2):
        return await reader.readexactly(len(data))


async def test_it_forwards_both_ways(client: Streams) -> None:
    assert await echoed(client, b"hello") == b"hello"


async def test_silent_it_keeps_connections_open_and_holds_bytes_back(
    proxy: Proxy, client: Streams
) -> None:
    assert await echoed(client, b"before") == b"before"
    proxy.go_silent()
    with pytest.raises(TimeoutError):
        await echoed(client, b"lost?")
    assert not client[0].at_eof()
    another = await asyncio.open_connection("127.0.0.1", proxy.port)
    with pytest.raises(TimeoutError):
        await echoed(another, b"x")
    assert proxy.open_connections == 2
    proxy.resume()
    assert await client[0].readexactly(5) == b"lost?"
    another[1].close()


async def test_stranded_connections_stay_silent_while_new_ones_are_forwarded(
    proxy: Proxy, client: Streams
) -> None:
    assert await echoed(client, b"before") == b"before"
    proxy.strand_connections()
    proxy.resume()
    with pytest.raises(TimeoutError):
        await echoed(client, b"lost")
    another = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await echoed(another, b"hello") == b"hello"
    another[1].close()


async def test_it_closes_silent_connections(proxy: Proxy, client: Streams) -> None:
    assert await echoed(client, b"before") == b"before"
    proxy.go_silent()
    await proxy.close_connections()
    assert await client[0].read() == b""


async def test_it_takes_a_servers_place_in_its_url(proxy: Proxy) -> None:
    url = "postgresql+asyncpg://user:secret@server:5432/killstream?ssl=disable"
    expected = f"postgresql+asyncpg://user:secret@127.0.0.1:{proxy.port}/killstream?ssl=disable"
    assert proxy.url(url) == expected


@pytest.mark.service
async def test_kafka_is_only_reached_through_its_proxy() -> None:
    async with open_proxy(server_urls()["kafka_url"]) as proxy:
        admin = AIOKafkaAdminClient(bootstrap_servers=f"127.0.0.1:{proxy.port}")
        await admin.start()
        try:
            cluster = await admin.describe_cluster()
            assert [broker["port"] for broker in cluster["brokers"]] == [proxy.port]
            proxy.go_silent()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(admin.list_topics(), 0.5)
            proxy.resume()
            await admin.list_topics()
        finally:
            await admin.close()
