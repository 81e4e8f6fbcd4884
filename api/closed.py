"""Close parts of the gateway to strangers, as the operator's settings say."""

from typing import Final

import msgspec
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from actors.shared.settings import Settings
from api.clients import CLOSED, is_closed
from api.login.viewer import address_of

PARTS: Final = {"/metrics": "metrics", "/health/redis": "redis"}
"""Parts by path; introspection and GraphiQL are closed where they are answered."""


class ClosedParts:
    """ASGI middleware: responds with 403 when a part is closed to the client's address."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request, or refuse it."""
        part = PARTS.get(scope["path"]) if scope["type"] == "http" else None
        if part and is_closed(part, self._settings, address_of(HTTPConnection(scope))):
            await _refuse(part, send)
        else:
            await self._app(scope, receive, send)


async def _refuse(part: str, send: Send) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    body = msgspec.json.encode({"error": f"{part}: {CLOSED}"})
    await send({"type": "http.response.body", "body": body})
