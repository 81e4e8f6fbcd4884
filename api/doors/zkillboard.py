"""zkillboard.com's websocket: subscribe to channels, get killmails as they come.

The protocol has no cursor: what comes while a client is away, it reads by another door.

Source: zKillboard's wiki, "Websocket", and its `cron/9.queuePublish.php` (read 2026-11-21).
"""

import asyncio
from contextlib import aclosing, suppress
from typing import Any, Final

import msgspec
import structlog
from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketDisconnected

from actors.shared.cancellation import cancel_and_wait
from actors.shared.metrics import SUBSCRIBERS_CLOSED
from api.doors.channels import channels_of, is_channel, message
from api.doors.client import client_of
from api.doors.entries import is_news
from api.doors.metrics import DELIVERIES
from api.doors.slots import TooMany
from api.state import State, state_of
from api.tail import TooSlow

ROUTER: Final = APIRouter()
MAX_CHANNELS: Final = 1_000
"""Channels of one connection."""
MAX_MESSAGE_CHARS: Final = 1_000
"""The longest message of a client."""
SEND_S: Final = 30.0
"""Time limit for sending; it waits while the client doesn't read."""
CLOSE_S: Final = 1.0

RESTARTING: Final = 1012
TRY_AGAIN_LATER: Final = 1013
TOO_BIG: Final = 1009
TOO_SLOW: Final = 4413
INTERNAL: Final = 1011
_DISCONNECTED: Final = (WebSocketDisconnect, WebSocketDisconnected)
_log: Final = structlog.get_logger()


class Request(msgspec.Struct):
    """A message of a client."""

    action: str
    channel: str


class Closed(Exception):
    """The connection is closed with a code and a reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@ROUTER.websocket("/websocket")
@ROUTER.websocket("/websocket/")
async def zkillboard(websocket: WebSocket) -> None:
    """Serve a client until one side closes the connection."""
    state = state_of(websocket)
    await websocket.accept()
    try:
        with state.doors.zkillboard.taken(client_of(websocket)):
            await _serve(state, websocket)
    except TooMany as error:
        await _close(websocket, TRY_AGAIN_LATER, str(error))
    except Closed as closed:
        await _close(websocket, closed.code, str(closed))


async def _serve(state: State, websocket: WebSocket) -> None:
    channels: set[str] = set()
    tasks = [
        asyncio.create_task(_receive(websocket, channels), name="websocket: receive"),
        asyncio.create_task(_follow(state, websocket, channels), name="websocket: follow"),
        asyncio.create_task(_until_closing(state), name="websocket: closing"),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_and_wait(*tasks)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()):
            _raise(error)


def _raise(error: BaseException) -> None:
    """Raise `Closed` for what ended a connection, unless the client did."""
    match error:
        case Closed():
            raise error
        case WebSocketDisconnect() | WebSocketDisconnected():
            return
        case TooSlow() | TimeoutError():
            reason = "behind" if isinstance(error, TooSlow) else "blocked"
            SUBSCRIBERS_CLOSED.labels(reason=reason).inc()
            raise Closed(TOO_SLOW, "too slow: connect again, and read what you missed elsewhere")
    _log.error("door.failed", exc_info=error)
    raise Closed(INTERNAL, "internal error; the gateway logged it")


async def _receive(websocket: WebSocket, channels: set[str]) -> None:
    while True:
        frame = await websocket.receive()
        if frame["type"] != "websocket.receive":
            return
        text = frame.get("text") or (frame.get("bytes") or b"").decode(errors="replace")
        if len(text) > MAX_MESSAGE_CHARS:
            raise Closed(TOO_BIG, f"a message may have {MAX_MESSAGE_CHARS} characters")
        if answer := "pong" if text == "ping" else _handled(text, channels):
            await _send(websocket, answer)


def _handled(text: str, channels: set[str]) -> str | None:
    """Do what a message asks for; return the complaint if it can't be done."""
    try:
        request = msgspec.json.decode(text, type=Request)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _complaint('a message is {"action":"sub","channel":"killstream"}')
    match request.action:
        case "unsub":
            channels.discard(request.channel)
            return None
        case "sub" if not is_channel(request.channel):
            return _complaint("unknown channel", channel=request.channel)
        case "sub" if len(channels) >= MAX_CHANNELS and request.channel not in channels:
            return _complaint(f"at most {MAX_CHANNELS} channels", channel=request.channel)
        case "sub":
            channels.add(request.channel)
            return None
    return _complaint("unknown action: sub and unsub are known")


def _complaint(reason: str, **facts: Any) -> str:
    return msgspec.json.encode({"action": "error", **facts, "message": reason}).decode()


async def _follow(state: State, websocket: WebSocket, channels: set[str]) -> None:
    """Send each new killmail once for each of the client's channels that it is on."""
    delivered = DELIVERIES.labels("zkillboard")
    async with aclosing(state.tail.follow()) as views:
        async for view in views:
            if not channels or not is_news(view):
                continue
            universe = state.facts.universe
            for channel in sorted(channels & channels_of(view, universe)):
                await _send(websocket, message(view, channel, universe).decode())
                delivered.inc()


async def _until_closing(state: State) -> None:
    await state.doors.closing.wait()
    raise Closed(RESTARTING, "the gateway restarts: connect again")


async def _send(websocket: WebSocket, text: str) -> None:
    """Send a message. Raises TimeoutError when the client doesn't read."""
    async with asyncio.timeout(SEND_S):
        await websocket.send_text(text)


async def _close(websocket: WebSocket, code: int, reason: str) -> None:
    """Close with a code and a reason; waits a little for a client that doesn't read."""
    with suppress(TimeoutError, RuntimeError, *_DISCONNECTED):
        async with asyncio.timeout(CLOSE_S):
            await websocket.close(code, reason)
