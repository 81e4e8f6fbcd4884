"""Compress answers that are sent whole; what is streamed goes out as it comes."""

from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import GZipResponder
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MIN_BYTES: Final = 1_000
LEVEL: Final = 5
"""Level 9 takes three times as long, for a hundredth less."""


class Gzip:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, and its answer as the client takes it."""
        if scope["type"] != "http" or "gzip" not in Headers(scope=scope).get("accept-encoding", ""):
            await self._app(scope, receive, send)
        else:
            await _Responder(self._app, MIN_BYTES, LEVEL)(scope, receive, send)


class _Responder(GZipResponder):
    async def send_with_compression(self, message: Message) -> None:
        if message["type"] == "http.response.body" and not self.started and not self._is_left_alone:
            if message.get("more_body"):
                self.started = self.content_encoding_set = True
                await self.send(self.initial_message)
            elif len(message.get("body", b"")) >= MIN_BYTES:
                _weaken(self.initial_message)
        await super().send_with_compression(message)

    @property
    def _is_left_alone(self) -> bool:
        return self.content_encoding_set or self.partial_response or self.content_type_is_excluded


def _weaken(start: Any) -> None:
    """Say that the body has the same meaning as the one with this ETag, but other bytes."""
    headers = MutableHeaders(raw=start["headers"])
    etag = headers.get("etag", "")
    if etag.startswith('"'):
        headers["etag"] = f"W/{etag}"
