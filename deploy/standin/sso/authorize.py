"""`/v2/oauth/authorize`: check an application's request, and redirect to the application."""

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
    """A valid request for a login."""

    application: Application
    redirect_uri: str
    state: str
    scopes: tuple[str, ...]
    challenge: str


class Unanswerable(Exception):
    """An error without a valid redirect URI: the player gets a page with the reason."""

    def answer(self) -> web.Response:
        """Return the page."""
        return web.Response(status=400, text=error_page(str(self)), content_type="text/html")


class Returned(Exception):
    """An error that is sent to the application with the redirect."""

    def __init__(self, asked_by: Mapping[str, str], error: str, description: str) -> None:
        super().__init__(description)
        self._to = asked_by["redirect_uri"]
        self._query = {"error": error, "error_description": description}
        if "state" in asked_by:
            self._query["state"] = asked_by["state"]

    def answer(self) -> web.Response:
        """Return the redirect."""
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
        raise Unanswerable("client_id isn't a registered application's")
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
    """Redirect to an application; keeps the query of its callback."""
    return web.Response(status=302, headers={"Location": str(URL(to).extend_query(query))})
