"""The two cookies: a browser's session, and the secret that binds a login to the browser."""

from typing import Final, Literal

from starlette.requests import HTTPConnection
from starlette.responses import Response

from actors.shared.settings import Settings
from actors.users.login import STATE_LIFETIME
from actors.users.secrets import is_secret
from actors.users.sessions import LIFETIME

Purpose = Literal["session", "login"]

_LIFETIME_S: Final = {
    "session": int(LIFETIME.total_seconds()),
    "login": int(STATE_LIFETIME.total_seconds()),
}


def cookie_name(settings: Settings, purpose: Purpose) -> str:
    """Return the name of a cookie.

    With the prefix `__Host-`, browsers reject a cookie that another host of the domain has set. It
    requires `Secure`, so a gateway without TLS, which is allowed on loopback only, goes without.
    """
    prefix = "__Host-" if _is_secure(settings) else ""
    return f"{prefix}killstream_{purpose}"


def read_cookie(connection: HTTPConnection, settings: Settings, purpose: Purpose) -> str | None:
    """Return a cookie's value; None when it is absent or malformed."""
    value = connection.cookies.get(cookie_name(settings, purpose), "")
    return value if is_secret(value) else None


def set_cookie(response: Response, settings: Settings, purpose: Purpose, value: str) -> None:
    """Set a cookie that scripts can't read, and that other sites' requests carry only by a link."""
    response.set_cookie(
        cookie_name(settings, purpose),
        value,
        max_age=_LIFETIME_S[purpose],
        path="/",
        secure=_is_secure(settings),
        httponly=True,
        samesite="lax",
    )


def delete_cookie(response: Response, settings: Settings, purpose: Purpose) -> None:
    """Delete a cookie in the browser."""
    response.delete_cookie(
        cookie_name(settings, purpose),
        path="/",
        secure=_is_secure(settings),
        httponly=True,
        samesite="lax",
    )


def _is_secure(settings: Settings) -> bool:
    return settings.eve_callback_url.startswith("https://")
