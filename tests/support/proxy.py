"""A TCP proxy before a server, which can go silent: connections stay open, no byte passes.

That is what a failover, a dropped NAT entry or a stopped machine looks like to a client: nothing
is closed, nothing is refused, nothing comes.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from struct import pack
from typing import Final
from urllib.parse import urlsplit, urlunsplit

CHUNK_BYTES: Final = 64 * 1024


class Proxy:
    """Forwards connections to one server; belongs to the running event loop."""

    def __init__(self, host: str, port: int, *, is_kafka: bool = False) -> None:
        self.port = 0
        """Where it listens on 127.0.0.1, once it is open."""
        self.accepted = 0
        """Connections accepted so far."""
        self._server = (host, port)
        self._is_kafka = is_kafka
        self._connections: set[asyncio.Task[None]] = set()
        self._forwarding = asyncio.Event()
        self._forwarding.set()

    @property
    def open_connections(self) -> int:
        """Count the clients' connections that are open now."""
        return len(self._connections)

    def go_silent(self) -> None:
        """Forward nothing, neither way; keep connections open and accept new ones."""
        self._forwarding.clear()

    def resume(self) -> None:
        """Forward again, first what was held back."""
        self._forwarding.set()

    def strand_connections(self) -> None:
        """Go silent for ever on the connections that are open now; new ones are forwarded."""
        self._forwarding.clear()
        self._forwarding = asyncio.Event()
        self._forwarding.set()

    async def close_connections(self) -> None:
        """Close every open connection, on both sides."""
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def url(self, url: str) -> str:
        """Give a server's URL with the proxy in the server's place; without one in it, its own."""
        parts = urlsplit(url)
        login = parts.netloc.rpartition("@")[0]
        place = f"127.0.0.1:{self.port}"
        return urlunsplit(parts._replace(netloc=f"{login}@{place}" if login else place))

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self.accepted += 1
        self._connections.add(task)
        try:
            await self._connect(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the server refuses, or the proxy closes
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(*self._server)
        forwarding = self._forwarding
        ways = [
            asyncio.create_task(_forward(reader, server_writer, forwarding)),
            asyncio.create_task(_forward(server_reader, writer, forwarding, self._readdressed)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            server_writer.transport.abort()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    def _readdressed(self, data: bytes) -> bytes:
        """Put the proxy in the place of a Kafka broker that names its own address.

        A broker's host and port stand side by side in each of Kafka's answers.
        """
        if not self._is_kafka:
            return data
        host, port = self._server
        address = host.encode()
        return data.replace(address + pack(">i", port), address + pack(">i", self.port))


async def _forward(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    forwarding: asyncio.Event,
    translate: Callable[[bytes], bytes] = bytes,
) -> None:
    while data := await reader.read(CHUNK_BYTES):
        await forwarding.wait()
        writer.write(translate(data))
        await writer.drain()
    await forwarding.wait()  # an end is news, too: it doesn't pass a silent line


@asynccontextmanager
async def open_proxy(url: str) -> AsyncIterator[Proxy]:
    """Put a proxy before the server that a URL names, for the length of the block."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    proxy = Proxy(parts.hostname, parts.port, is_kafka=parts.scheme == "kafka")
    listening = await asyncio.start_server(proxy._accept, "127.0.0.1", 0)
    proxy.port = listening.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        listening.close()
        await proxy.close_connections()
