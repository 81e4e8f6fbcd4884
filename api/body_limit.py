"""Refuse a request body that is too long, before it is read."""

import asyncio
from contextlib import suppress
from typing import Final

import msgspec
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES: Final = 1024 * 1024
"""The longest body of a request."""
DISCARD_S: Final = 2.0
"""How long what a refused client still sends is thrown away, so that it gets to read the answer."""


class BodyTooLong(Exception):
    """The body that is being read exceeds the limit; the application needn't answer."""


class BodyLimit:
    """ASGI middleware: answers 413 when a body's declared or counted length is over the limit."""

    def __init__(self, app: ASGIApp, max_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif _declared_bytes(scope) > self._max_bytes:
            await self._refuse(receive, send)
        else:
            await self._count(scope, receive, send)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the body on as it comes, up to the limit; a chunked one declares no length."""
        received_bytes = 0
        too_long = answering = False

        async def receive_counted() -> Message:
            nonlocal received_bytes, too_long
            message = await receive()
            received_bytes += len(message.get("body", b""))
            too_long = received_bytes > self._max_bytes
            if too_long and not answering:
                raise BodyTooLong
            return message

        async def send_unless_refused(message: Message) -> None:
            nonlocal answering
            if answering or not too_long:
                answering = True
                await send(message)

        with suppress(BodyTooLong):
            await self._app(scope, receive_counted, send_unless_refused)
        if too_long and not answering:
            await self._refuse(receive, send)

    async def _refuse(self, receive: Receive, send: Send) -> None:
        error = f"the body is too long: {self._max_bytes} bytes are the limit"
        answer = msgspec.json.encode({"error": error})
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(answer)).encode()),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": answer, "more_body": True})
        # Closed at once, the connection would be reset before the client has read the answer.
        with suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_S):
                while (await receive()).get("more_body"):
                    pass
        await send({"type": "http.response.body", "body": b""})


def _declared_bytes(scope: Scope) -> int:
    declared = Headers(scope=scope).get("content-length", "")
    return int(declared) if declared.isdecimal() else 0
