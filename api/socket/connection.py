"""One connection: its frames, its messages, and what it waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from time import monotonic
from typing import Any, Final, Protocol, cast

import msgspec
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Side
from websockets.protocol import Protocol as Wire

from actors.shared.metrics import SUBSCRIBERS_CLOSED
from api.live.frames import header
from api.live.stream import Stream
from api.login.viewer import Credential, Viewer
from api.socket.codes import (
    ALREADY_EXISTS,
    BAD_MESSAGE,
    NOT_INITIALISED,
    SERVICE_RESTART,
    TOO_MANY,
    TOO_SLOW,
    UNAUTHORIZED,
)
from api.socket.handover import Successor
from api.socket.handshake import Handshake

MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""The longest message that a client may send."""
MAX_OPERATIONS: Final = 50
"""Open operations of a connection."""
MAX_ID: Final = 200
"""Characters of an operation's id, which each of its messages repeats."""
SLICE_BYTES: Final = 1024
"""What is parsed at once; it may be 170 frames."""
SLICE_S: Final = 0.001
"""How long what one client sent is parsed before the others have twice that time."""
INIT_S: Final = 10.0
"""Time within which a client must send `connection_init`."""
PING_S: Final = 20.0
"""Silence after which a client is pinged; one that is silent for as long again is gone."""
BLOCKED_S: Final = 30.0
"""How long a client may read nothing."""
CLOSE_S: Final = 5.0
"""How long a client may take to answer a close frame."""

_PING: Final = b"\x89\x00"


class Message(msgspec.Struct):
    """What a client sends."""

    type: str
    id: str | None = None
    payload: Any = None


_decode: Final = msgspec.json.Decoder(Message).decode


class Server(Protocol):
    """What a connection needs of the gateway."""

    connections: dict[Connection, None]

    def now_s(self) -> float:
        """Return the loop's time."""

    def initialise(self, connection: Connection, handshake: Handshake, payload: Any) -> None:
        """Authenticate the client, then acknowledge."""

    def subscribe(self, connection: Connection, operation_id: str, payload: Any) -> None:
        """Start an operation."""

    def end(self, operation: Operation) -> None:
        """End an operation that its client completed, or whose connection ends."""

    def fell_behind(self, stream: Stream) -> None:
        """Have a stream read the feed."""

    def fail(self, connection: Connection, stream: Stream, error: Exception) -> None:
        """End a stream with an error."""


Operation = Stream | asyncio.Task[None]


class Connection(Successor):
    """A client's connection; what is sent to it doesn't wait here, but in rings and in the feed."""

    __slots__ = (
        "_blocked_since_s",
        "_closing_since_s",
        "_drained",
        "_pinged_s",
        "_seen_s",
        "_server",
        "_text",
        "_transport",
        "_unparsed",
        "_unread",
        "_wire",
        "credential",
        "handshake",
        "is_blocked",
        "operations",
        "tasks",
        "viewer",
    )

    def __init__(self, server: Server, handshake: Handshake) -> None:
        self._server = server
        self.handshake: Handshake | None = handshake
        """Until `connection_init` came."""
        self._wire: Wire | None = None
        """Parses what the client sends; only while it is in the middle of something."""
        self._unparsed = 0
        """Bytes of an unfinished frame that the parser holds."""
        self._unread = b""
        """What came and isn't parsed yet."""
        self._text: bytearray | None = None
        """The beginning of a fragmented message."""
        self._seen_s = self._pinged_s = server.now_s()
        self._blocked_since_s = 0.0
        self._closing_since_s = 0.0
        self._drained: asyncio.Event | None = None
        """Set when the socket takes more; made by who waits for that."""
        self.viewer: Viewer | None = None
        """The client, once it is authenticated."""
        self.credential: Credential | None = None
        """What its session is known by."""
        self.is_blocked = False
        self.operations: dict[str, Operation] | None = None
        """By the ids that the client gave them."""
        self.tasks: set[asyncio.Task[None]] | None = None
        """Others that end with the connection."""

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, after the opening handshake."""
        self._transport = cast(asyncio.Transport, transport)
        self._server.connections[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        """End everything."""
        self.connections.discard(self)
        self._server.connections.pop(self, None)
        self._closing_since_s = self._closing_since_s or self._server.now_s()
        self._end_operations()

    def pause_writing(self) -> None:
        """Note that the socket is full; a client that doesn't read isn't heard, either."""
        self.is_blocked = True
        self._blocked_since_s = self._server.now_s()
        self._read(False)

    def resume_writing(self) -> None:
        """Go on where the socket was full."""
        if not self._unread:
            self._read(True)
        if self._closing_since_s:
            return
        self.is_blocked = False
        for operation in tuple((self.operations or {}).values()):
            if isinstance(operation, Stream):
                operation.catch_up()
        self._wake()

    def data_received(self, data: bytes) -> None:
        """Take a client's frames, a slice in each turn of the loop."""
        self._seen_s = self._server.now_s()
        if len(data) > SLICE_BYTES or self._unread:
            is_waiting = bool(self._unread)
            self._unread += data
            self._read(False)
            if not is_waiting:
                self._parse_unread()
        else:
            self._parse(data)

    def _parse_unread(self) -> None:
        end_s = monotonic() + SLICE_S
        start = 0
        while start < len(self._unread) and monotonic() < end_s:
            self._parse(self._unread[start : start + SLICE_BYTES])
            start += SLICE_BYTES
        self._unread = self._unread[start:]
        if self._unread:
            asyncio.get_running_loop().call_later(2 * SLICE_S, self._parse_unread)
        elif not self.is_blocked or self._closing_since_s:
            self._read(True)

    def _read(self, is_reading: bool) -> None:
        if not self._transport.is_closing():  # uvloop's raises then
            (self._transport.resume_reading if is_reading else self._transport.pause_reading)()

    def _parse(self, data: bytes) -> None:
        """Parse frames by `websockets`, which answers ping and close."""
        wire = self._wire = self._wire or _new_wire()
        wire.receive_data(data)
        self._unparsed += len(data)
        for frame in wire.events_received():
            assert isinstance(frame, Frame)
            self._unparsed -= _received_bytes(frame)
            if not self._closing_since_s:
                self._take(frame)
        self._flush(wire)
        if wire.state is OPEN and self._unparsed == 0 and wire.current_size is None:
            self._wire = None

    # What the server calls.

    def shutdown(self) -> None:
        """Close, as the server stops."""
        self.close(SERVICE_RESTART, "the gateway restarts: reconnect")

    def close(self, code: int, reason: str) -> None:
        """Close with a code and a reason; the client has `CLOSE_S` to answer."""
        if self._closing_since_s:
            return
        wire = self._wire = self._wire or _new_wire()
        self._begin_to_close()
        if wire.state is OPEN:
            wire.send_close(code, reason.encode()[:120].decode(errors="ignore"))
        self._flush(wire)

    def inspect(self) -> None:
        """Check the times; called about once a second."""
        now_s = self._server.now_s()
        if self._closing_since_s:
            if now_s - self._closing_since_s > CLOSE_S:
                self._transport.abort()
        elif self.is_blocked:
            if now_s - self._blocked_since_s > BLOCKED_S:
                SUBSCRIBERS_CLOSED.labels(reason="blocked").inc()
                self.close(TOO_SLOW, self._too_slow(f"nothing was read for {BLOCKED_S:.0f} s"))
        elif self.handshake is not None and now_s - self._seen_s > INIT_S:
            self.close(NOT_INITIALISED, f"no connection_init within {INIT_S:.0f} s")
        elif now_s - self._seen_s > 2 * PING_S:
            self._transport.abort()
        elif now_s - max(self._seen_s, self._pinged_s) > PING_S:
            self._pinged_s = now_s
            self.write(_PING)

    # What operations call.

    @property
    def is_closing(self) -> bool:
        """Whether the connection is ending, or has ended."""
        return self._closing_since_s > 0

    def write(self, data: bytes) -> None:
        """Write whole frames; nothing, when the connection is lost already."""
        if not self._transport.is_closing():  # uvloop's raises then
            self._transport.write(data)

    def send(self, message: bytes) -> None:
        """Send a message, as JSON, unless the connection is closing."""
        if not self._closing_since_s:
            self.write(header(len(message)) + message)

    async def drained(self) -> None:
        """Wait until the socket takes more, or the connection is closing."""
        while self.is_blocked and not self._closing_since_s:
            self._drained = self._drained or asyncio.Event()
            await self._drained.wait()

    def fell_behind(self, stream: Stream) -> None:
        """Have a stream read the feed."""
        self._server.fell_behind(stream)

    def fail(self, stream: Stream, error: Exception) -> None:
        """End a stream with an error."""
        self._server.fail(self, stream, error)

    def acknowledge(self, viewer: Viewer, credential: Credential | None) -> None:
        """Answer `connection_init`: the client is known."""
        self.viewer, self.credential = viewer, credential
        self.send(b'{"type":"connection_ack"}')

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a task that ends with the connection."""
        task = asyncio.create_task(work)
        self.tasks = (self.tasks or set()) | {task}
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        if self.tasks:
            self.tasks.discard(task)

    # The protocol.

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.BINARY:
            self.close(BAD_MESSAGE, "bad message: binary")
        elif frame.opcode in (Opcode.TEXT, Opcode.CONT):
            text = self._text = self._text or bytearray()
            text += frame.data
            if frame.fin:
                self._text = None
                self._take_message(text)

    def _take_message(self, text: bytearray) -> None:
        try:
            message = _decode(text)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            return self.close(BAD_MESSAGE, f"bad message: {error}")
        match message.type:
            case "connection_init":
                self._initialise(message.payload)
            case "ping":
                self.send(b'{"type":"pong"}')
            case "pong":
                pass
            case "subscribe" if _is_id(message.id):
                self._subscribe(cast(str, message.id), message.payload)
            case "complete" if _is_id(message.id):
                if operation := (self.operations or {}).pop(cast(str, message.id), None):
                    self._server.end(operation)
            case _:
                self.close(BAD_MESSAGE, "bad message: no such type, or no id, or too long a one")
        return None

    def _initialise(self, payload: Any) -> None:
        handshake, self.handshake = self.handshake, None
        if handshake is None:
            self.close(TOO_MANY, "connection_init came twice")
        else:
            self._server.initialise(self, handshake, payload)

    def _subscribe(self, operation_id: str, payload: Any) -> None:
        open_ = self.operations = self.operations or {}
        if self.viewer is None:
            self.close(UNAUTHORIZED, "send connection_init first, and wait for connection_ack")
        elif operation_id in open_:
            self.close(ALREADY_EXISTS, f"Subscriber for {operation_id} already exists")
        elif len(open_) >= MAX_OPERATIONS:
            self.close(TOO_MANY, f"at most {MAX_OPERATIONS} operations at once")
        else:
            self._server.subscribe(self, operation_id, payload)

    def _too_slow(self, why: str) -> str:
        streams = [one for one in (self.operations or {}).values() if isinstance(one, Stream)]
        if not streams:
            return f"too slow: {why}"
        return f"too slow: {why}; resume with after: {min(one.sequence for one in streams)}"

    def _flush(self, wire: Wire) -> None:
        """Write what `websockets` has to say; an empty chunk is its sign to close the socket."""
        for chunk in wire.data_to_send():
            if chunk:
                self.write(chunk)
            else:
                self._begin_to_close()
                self._transport.close()

    def _begin_to_close(self) -> None:
        if not self._closing_since_s:
            self._closing_since_s = self._server.now_s()
            self.is_blocked = True
            self._end_operations()

    def _end_operations(self) -> None:
        operations, self.operations = self.operations or {}, None
        for operation in operations.values():
            self._server.end(operation)
        for task in self.tasks or ():
            task.cancel()
        self._wake()

    def _wake(self) -> None:
        if self._drained is not None:
            self._drained.set()
            self._drained = None


def _is_id(operation_id: str | None) -> bool:
    return operation_id is not None and 1 <= len(operation_id) <= MAX_ID


def _new_wire() -> Wire:
    return Wire(Side.SERVER, state=OPEN, max_size=MAX_MESSAGE_BYTES)


def _received_bytes(frame: Frame) -> int:
    """Return the bytes that a client's frame took; one that wastes some keeps its parser."""
    size = len(frame.data)
    return size + (6 if size < 126 else 8 if size < 65_536 else 14)
