"""Reject a request body that is too long before it is read."""

import asyncio
from contextlib import suppress
from typing import Final

import msgspec
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES: Final = 1024 * 1024
"""The longest body of a request."""
DISCARD_S: Final = 2.0
"""How long the rest of a rejected body is discarded, so that the client can read the response."""


class BodyTooLong(Exception):
    """The body exceeds the limit. Ends the application's call; the middleware responds."""


class BodyLimit:
    """ASGI middleware: responds with 413 when the declared or received length is over the limit."""

    def __init__(self, app: ASGIApp, max_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request, or reject it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif _declared_bytes(scope) > self._max_bytes:
            await self._reject(receive, send)
        else:
            await self._forward_counted(scope, receive, send)

    async def _forward_counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the body and count its bytes, as a chunked body declares no length."""
        received_bytes = 0
        too_long = responding = False

        async def receive_counted() -> Message:
            nonlocal received_bytes, too_long
            message = await receive()
            received_bytes += len(message.get("body", b""))
            too_long = received_bytes > self._max_bytes
            if too_long and not responding:
                raise BodyTooLong
            return message

        async def send_unless_rejected(message: Message) -> None:
            nonlocal responding
            if responding or not too_long:
                responding = True
                await send(message)

        with suppress(BodyTooLong):
            await self._app(scope, receive_counted, send_unless_rejected)
        if too_long and not responding:
            await self._reject(receive, send)

    async def _reject(self, receive: Receive, send: Send) -> None:
        error = f"the body is too long: {self._max_bytes} bytes are the limit"
        answer = msgspec.json.encode({"error": error})
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(answer)).encode()),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": answer, "more_body": True})
        # Closing at once would reset the connection before the client has read the response.
        with suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_S):
                while (await receive()).get("more_body"):
                    pass
        await send({"type": "http.response.body", "body": b""})


def _declared_bytes(scope: Scope) -> int:
    declared = Headers(scope=scope).get("content-length", "")
    return int(declared) if declared.isdecimal() else 0
