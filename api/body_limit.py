"""Reject a request body that is too long before it is read, or that doesn't arrive in time."""

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


RECEIVE_S: Final = 15.0
"""How long a body may take to arrive."""


class BodyRefused(Exception):
    """The body exceeds a limit. Ends the application's call; the middleware responds."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class BodyLimit:
    """ASGI middleware: refuses bodies that are too long or too slow.

    It responds with 413 when the declared or received length is over the limit, and with 408 when
    the body hasn't arrived within `receive_s`.
    """

    def __init__(
        self, app: ASGIApp, max_bytes: int = MAX_BODY_BYTES, receive_s: float = RECEIVE_S
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._receive_s = receive_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request, or reject it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif _declared_bytes(scope) > self._max_bytes:
            await _reject(self._too_long(), receive, send)
        else:
            await self._forward_counted(scope, receive, send)

    async def _forward_counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the body and count its bytes, as a chunked body declares no length."""
        deadline_s = asyncio.get_running_loop().time() + self._receive_s
        received_bytes = 0
        is_complete = responding = False
        refused: BodyRefused | None = None

        async def receive_counted() -> Message:
            nonlocal received_bytes, is_complete, refused
            try:
                async with asyncio.timeout_at(None if is_complete else deadline_s):
                    message = await receive()
            except TimeoutError:
                refused = BodyRefused(408, f"the body didn't arrive within {self._receive_s:g} s")
                raise refused from None
            received_bytes += len(message.get("body", b""))
            is_complete = not message.get("more_body", False)
            refused = self._too_long() if received_bytes > self._max_bytes else None
            if refused and not responding:
                raise refused
            return message

        async def send_unless_rejected(message: Message) -> None:
            nonlocal responding
            if responding or not refused:
                responding = True
                await send(message)

        with suppress(BodyRefused):
            await self._app(scope, receive_counted, send_unless_rejected)
        if refused and not responding:
            await _reject(refused, receive, send)

    def _too_long(self) -> BodyRefused:
        return BodyRefused(413, f"the body is too long: {self._max_bytes} bytes are the limit")


async def _reject(refused: BodyRefused, receive: Receive, send: Send) -> None:
    answer = msgspec.json.encode({"error": str(refused)})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(answer)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
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
