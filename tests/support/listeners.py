"""Thousands of websocket clients in one process: each counts and checks the frames that it gets.

They are plain protocols: frames aren't parsed, but sequences and their order are read from the
bytes, so that the clients take less time than what they measure.
"""

import asyncio
import os
import re
import struct
import time
from base64 import b64encode
from collections.abc import Callable
from typing import Any, Final, cast
from urllib.parse import urlsplit

import msgspec

_SEQUENCE: Final = re.compile(rb'"sequence":(\d+)[,}]')
_ACK: Final = b"connection_ack"
_PING: Final = b"\x89\x00"
_PONG: Final = b"\x8a\x80\x00\x00\x00\x00"
"""An empty one, masked with zeros."""


def frame(message: Any) -> bytes:
    """Make a client's text frame."""
    payload = msgspec.json.encode(message)
    size = len(payload)
    head = (
        struct.pack("!BB", 0x81, 0x80 | size)
        if size < 126
        else struct.pack("!BBH", 0x81, 0xFE, size)
    )
    return head + bytes(4) + payload  # masked with zeros: RFC 6455 asks for a mask, not for which


class Listener(asyncio.Protocol):
    """One client with one subscription."""

    def __init__(
        self, host: str, subscribe: dict[str, Any], on_sequences: Callable[..., None]
    ) -> None:
        self._host = host
        self._subscribe = subscribe
        self._on_sequences = on_sequences
        self._rest = b""
        self._is_open = False
        self.ready = asyncio.get_running_loop().create_future()
        """Done when the subscription was sent and a ping after it was answered."""
        self.lost = asyncio.get_running_loop().create_future()
        """Done when the connection is lost."""
        self.last = 0
        """The last sequence that came."""
        self.count = 0
        self.problem = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self.transport = cast(asyncio.Transport, transport)
        key = b64encode(os.urandom(16)).decode()
        self.transport.write(
            f"GET /graphql HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Note it."""
        self.problem = self.problem or f"lost: {exc} {self._rest[:200]!r}"
        self.lost.set_result(None)
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(self.problem))

    def data_received(self, data: bytes) -> None:
        """Read sequences; before, do the handshake."""
        if not self.ready.done():
            self._shake_hands(data)
            return
        if _PING in data:
            self.transport.write(_PONG)
        data = self._rest + data
        end = 0
        sequences = []
        for found in _SEQUENCE.finditer(data):
            sequences.append(int(found[1]))
            end = found.end()
        self._rest = data[end:]
        if sequences:
            self.count += len(sequences)
            self._on_sequences(self, sequences, time.time())
            self.last = sequences[-1]

    def _shake_hands(self, data: bytes) -> None:
        self._rest += data
        if not self._is_open and b"\r\n\r\n" in self._rest:
            self._is_open = True
            self.transport.write(frame({"type": "connection_init"}))
        if _ACK in self._rest:
            self._rest = self._rest.partition(_ACK)[2]
            message = {"type": "subscribe", "id": "1", "payload": self._subscribe}
            self.transport.write(frame(message) + frame({"type": "ping"}))
        elif b'"pong"' in self._rest:
            self._rest = self._rest.partition(b'"pong"}')[2]
            self.ready.set_result(None)
        elif b'"error"' in self._rest:
            self.ready.set_exception(ConnectionError(self._rest.decode(errors="replace")))


async def connect_listener(
    url: str, subscribe: dict[str, Any], on_sequences: Callable[..., None]
) -> Listener:
    """Connect one client; returns when it is subscribed.

    Raises:
        OSError: the connection failed or was lost, or the subscription was refused.
    """
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    listener = Listener(parts.netloc, subscribe, on_sequences)
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: listener, parts.hostname, parts.port)
    await listener.ready
    return listener


async def listen(
    url: str, subscriptions: list[dict[str, Any]], on_sequences: Callable[..., None]
) -> list[Listener]:
    """Connect a client for each subscription; returns when all are subscribed."""
    listeners: list[Listener] = []
    for start in range(0, len(subscriptions), 50):
        some = subscriptions[start : start + 50]
        connecting = (connect_listener(url, one, on_sequences) for one in some)
        listeners += await asyncio.gather(*connecting)
    return listeners
