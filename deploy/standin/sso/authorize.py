"""`/v2/oauth/authorize`: checks an authorization request, and redirects to the application."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from aiohttp import web
from yarl import URL

from deploy.standin.sso.applications import Application
from deploy.standin.sso.consent import error_page

_CHALLENGE: Final = re.compile(r"[\w-]{43}\Z", re.ASCII)
"""A SHA-256 in base64url without padding."""


class AuthorizationRequest(NamedTuple):
    """A valid authorization request. Source: RFC 6749, section 4.1.1, and RFC 7636."""

    application: Application
    redirect_uri: str
    state: str
    scopes: tuple[str, ...]
    challenge: str


class InvalidRedirect(Exception):
    """A request without a valid callback: the player sees the error instead of a redirect."""

    def answer(self) -> web.Response:
        """Make the page."""
        return web.Response(status=400, text=error_page(str(self)), content_type="text/html")


class AuthorizationError(Exception):
    """An error that the application gets with the redirect. Source: RFC 6749, section 4.1.2.1."""

    def __init__(self, query: Mapping[str, str], error: str, description: str) -> None:
        super().__init__(description)
        self._to = query["redirect_uri"]
        self._query = {"error": error, "error_description": description}
        if "state" in query:
            self._query["state"] = query["state"]

    def answer(self) -> web.Response:
        """Make the redirect."""
        return redirect(self._to, self._query)


def check(
    query: Mapping[str, str], applications: Mapping[str, Application]
) -> AuthorizationRequest:
    """Check the query of an authorization request.

    `state` and PKCE are required; the real SSO only recommends PKCE to applications with a secret.

    Raises:
        InvalidRedirect: the application or its callback isn't registered, or `state` is missing.
        AuthorizationError: anything else is invalid.
    """
    application = applications.get(query.get("client_id", ""))
    if application is None:
        raise InvalidRedirect("client_id isn't that of a registered application")
    if query.get("redirect_uri") not in application.callbacks:
        raise InvalidRedirect("redirect_uri isn't registered for this application")
    if not query.get("state"):
        raise InvalidRedirect("state is missing")
    if query.get("response_type") != "code":
        raise AuthorizationError(query, "unsupported_response_type", "response_type must be code")
    if query.get("code_challenge_method") != "S256":
        raise AuthorizationError(query, "invalid_request", "code_challenge_method must be S256")
    if not _CHALLENGE.match(query.get("code_challenge", "")):
        raise AuthorizationError(
            query, "invalid_request", "code_challenge isn't a SHA-256 in base64url"
        )
    scopes = tuple(dict.fromkeys(query.get("scope", "").split()))
    foreign = [scope for scope in scopes if scope not in application.scopes]
    if foreign:
        raise AuthorizationError(query, "invalid_scope", f"not registered: {' '.join(foreign)}")
    return AuthorizationRequest(
        application, query["redirect_uri"], query["state"], scopes, query["code_challenge"]
    )


def redirect(to: str, query: Mapping[str, str]) -> web.Response:
    """Redirect to an application's callback, whose own query is kept."""
    return web.Response(status=302, headers={"Location": str(URL(to).extend_query(query))})
