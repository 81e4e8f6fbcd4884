"""Frames as clients and strangers send them: in pieces, glued together, wrong, or far too many."""

import asyncio
import os
import struct
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import pytest

from api.socket.connection import MAX_ID, MAX_MESSAGE_BYTES
from tests.api.gateway import Writer, connect
from tests.support.listeners import frame

INIT = frame({"type": "connection_init"})
PING = frame({"type": "ping"})
ADDED = "subscription { killmailAdded { killmailId } }"


class Raw:
    """A websocket of which each byte is ours."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *chunks: bytes) -> None:
        for chunk in chunks:
            self.writer.write(chunk)
            await self.writer.drain()

    async def receive(self) -> tuple[int, bytes]:
        """Receive a frame: its opcode and its payload."""
        async with asyncio.timeout(20):
            first, size = await self.reader.readexactly(2)
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            return first & 15, await self.reader.readexactly(size)

    async def receive_type(self) -> Any:
        opcode, payload = await self.receive()
        assert opcode == 1
        return msgspec.json.decode(payload)["type"]

    async def receive_close(self) -> int:
        opcode, payload = await self.receive()
        assert opcode == 8
        (code,) = struct.unpack("!H", payload[:2])
        assert isinstance(code, int)
        return code


@asynccontextmanager
async def raw(client: aiohttp.ClientSession) -> AsyncIterator[Raw]:
    parts = urlsplit(str(client._base_url))
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    key = b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET /graphql HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n".encode()
    )
    answer = await reader.readuntil(b"\r\n\r\n")
    assert b" 101 " in answer
    try:
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()


def part(opcode: int, payload: bytes, *, is_last: bool, is_masked: bool = True) -> bytes:
    """Make a client's frame of less than 64 kB."""
    mask = 0x80 if is_masked else 0
    size = len(payload)
    head = struct.pack("!B", (0x80 if is_last else 0) | opcode)
    head += struct.pack("!B", mask | size) if size < 126 else struct.pack("!BH", mask | 126, size)
    return head + (bytes(4) if is_masked else b"") + payload


async def test_messages_may_come_byte_by_byte_in_parts_or_glued_together(
    client: aiohttp.ClientSession,
) -> None:
    async with raw(client) as socket:
        await socket.send(*(bytes((one,)) for one in INIT))
        assert await socket.receive_type() == "connection_ack"
        await socket.send(PING + PING + PING)
        assert [await socket.receive_type() for _ in range(3)] == ["pong"] * 3
        await socket.send(
            part(1, b'{"type":', is_last=False) + part(9, b"now", is_last=True),
            part(0, b'"pi', is_last=False),
            part(0, b'ng"}', is_last=True),
        )
        assert {await socket.receive() for _ in range(2)} == {
            (10, b"now"),
            (1, b'{"type":"pong"}'),
        }


async def test_a_close_is_answered_and_what_came_before_is_too(
    client: aiohttp.ClientSession,
) -> None:
    async with raw(client) as socket:
        await socket.send(INIT + PING + part(8, struct.pack("!H", 1000), is_last=True))
        assert [await socket.receive_type() for _ in range(2)] == ["connection_ack", "pong"]
        assert await socket.receive_close() == 1000
        assert await socket.reader.read() == b""


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (part(1, b"{}", is_last=True, is_masked=False), 1002),
        (part(0, b"{}", is_last=True), 1002),
        (part(3, b"", is_last=True), 1002),
        (b"\xf1\x80" + bytes(4), 1002),
        (part(2, b"{}", is_last=True), 4400),
        (part(1, b'{"type":"\xff"}', is_last=True), 4400),
        (part(1, b"[" * 60_000, is_last=True), 4400),
        (b"\x81\xff" + struct.pack("!Q", MAX_MESSAGE_BYTES + 1) + bytes(4), 1009),
        (INIT + frame({"type": "subscribe", "id": "x" * (MAX_ID + 1), "payload": {}}), 4400),
    ],
)
async def test_what_is_wrong_closes_with_its_code(
    client: aiohttp.ClientSession, data: bytes, code: int
) -> None:
    async with raw(client) as socket:
        await socket.send(data)
        if data.startswith(INIT):
            assert await socket.receive_type() == "connection_ack"
        assert await socket.receive_close() == code


@pytest.mark.parametrize(
    "flood",
    [
        part(1, b"{", is_last=False) + part(0, b" ", is_last=False) * 200_000,
        part(9, b"", is_last=True) * 200_000,
        PING * 30_000,
    ],
    ids=["parts", "pings", "messages"],
)
async def test_a_flood_of_frames_delays_nobody(
    client: aiohttp.ClientSession, writer: Writer, flood: bytes
) -> None:
    """It reads nothing, and sends as fast as it can; what it is sent is bounded, too."""
    loop = asyncio.get_running_loop()
    async with raw(client) as stranger, connect(client) as honest:
        await stranger.send(INIT)
        await honest.subscribe(ADDED)
        stranger.writer.write(flood)
        delays_s = []
        for killmail_id in range(1, 21):
            started_s = loop.time()
            await writer.add(killmail_id)
            assert await honest.next() == {"killmailAdded": {"killmailId": killmail_id}}
            delays_s.append(loop.time() - started_s)
        assert median(delays_s) < 0.25
