"""The refusals of the token endpoint.

Source: what clients collect of EVE's answers (ccpgames/sso-issues 31, 43 and 56; read 2026-11-21).
"""

from typing import Final

import msgspec
from aiohttp import web

from deploy.standin.faults import SsoError


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status

    def answer(self) -> web.Response:
        """Make the answer."""
        body = {"error": self.error, "error_description": self.description}
        return json_response(body, status=self.status)


def json_response(payload: object, *, status: int = 200) -> web.Response:
    """Answer JSON that nobody may keep."""
    return web.Response(
        status=status,
        body=msgspec.json.encode(payload),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def refusal(kind: SsoError) -> Refused:
    """Make one of the known refusals."""
    error, description, status = _KNOWN[kind]
    return Refused(error, description, status)


_KNOWN: Final[dict[SsoError, tuple[str, str, int]]] = {
    "token": ("invalid_grant", "Invalid refresh token. Token missing/expired.", 400),
    "grant": ("invalid_grant", "Invalid refresh token. Character grant missing/expired.", 400),
    "migrate": ("invalid_grant", "Invalid refresh token. Unable to migrate grant.", 400),
    "expired": ("invalid_token", "The refresh token is expired.", 400),
    "client": ("invalid_token", "The refresh token does not match the client specified.", 400),
    "credentials": ("invalid_client", "The client credentials are invalid.", 401),
    "unavailable": ("temporarily_unavailable", "The service is temporarily unavailable.", 503),
}
