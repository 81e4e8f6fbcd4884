"""`/v2/oauth/authorize`: checks what an application asks, and leads back to it."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from aiohttp import web
from yarl import URL

from deploy.standin.sso.applications import Application
from deploy.standin.sso.consent import error_page

_CHALLENGE: Final = re.compile(r"[\w-]{43}\Z", re.ASCII)
"""A SHA-256 in base64url without padding."""


class Asked(NamedTuple):
    """A login that an application asks for, checked."""

    application: Application
    redirect_uri: str
    state: str
    scopes: tuple[str, ...]
    challenge: str


class Unanswerable(Exception):
    """Nobody to lead back to: the player sees the reason."""

    def answer(self) -> web.Response:
        """Make the page."""
        return web.Response(status=400, text=error_page(str(self)), content_type="text/html")


class Returned(Exception):
    """An error that goes back to the application with the redirect."""

    def __init__(self, asked_by: Mapping[str, str], error: str, description: str) -> None:
        super().__init__(description)
        self._to = asked_by["redirect_uri"]
        self._query = {"error": error, "error_description": description}
        if "state" in asked_by:
            self._query["state"] = asked_by["state"]

    def answer(self) -> web.Response:
        """Make the redirect."""
        return redirect(self._to, self._query)


def check(query: Mapping[str, str], applications: Mapping[str, Application]) -> Asked:
    """Check the query of a login.

    `state` and PKCE are required; the real SSO only recommends PKCE to applications with a secret.

    Raises:
        Unanswerable: the application or its callback isn't registered, or `state` is missing.
        Returned: anything else is wrong.
    """
    application = applications.get(query.get("client_id", ""))
    if application is None:
        raise Unanswerable("client_id is of no registered application")
    if query.get("redirect_uri") not in application.callbacks:
        raise Unanswerable("redirect_uri isn't registered for this application")
    if not query.get("state"):
        raise Unanswerable("state is missing")
    if query.get("response_type") != "code":
        raise Returned(query, "unsupported_response_type", "response_type must be code")
    if query.get("code_challenge_method") != "S256":
        raise Returned(query, "invalid_request", "code_challenge_method must be S256")
    if not _CHALLENGE.match(query.get("code_challenge", "")):
        raise Returned(query, "invalid_request", "code_challenge isn't a SHA-256 in base64url")
    scopes = tuple(dict.fromkeys(query.get("scope", "").split()))
    foreign = [scope for scope in scopes if scope not in application.scopes]
    if foreign:
        raise Returned(query, "invalid_scope", f"not registered: {' '.join(foreign)}")
    return Asked(
        application, query["redirect_uri"], query["state"], scopes, query["code_challenge"]
    )


def redirect(to: str, query: Mapping[str, str]) -> web.Response:
    """Lead back to an application; what its callback's own query says stays."""
    return web.Response(status=302, headers={"Location": str(URL(to).extend_query(query))})
