"""The two cookies: a browser's session, and what binds a login to the browser that began it."""

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

    `__Host-` has browsers refuse one that another host of the domain set. It requires `Secure`,
    which a gateway on this machine without TLS can't have.
    """
    prefix = "__Host-" if _is_secure(settings) else ""
    return f"{prefix}killstream_{purpose}"


def read_cookie(connection: HTTPConnection, settings: Settings, purpose: Purpose) -> str | None:
    """Return a cookie's value; None when it is absent or isn't one that we set."""
    value = connection.cookies.get(cookie_name(settings, purpose), "")
    return value if is_secret(value) else None


def set_cookie(response: Response, settings: Settings, purpose: Purpose, value: str) -> None:
    """Set a cookie that scripts can't read and foreign pages can't send."""
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
    """Have the browser forget a cookie."""
    response.delete_cookie(
        cookie_name(settings, purpose),
        path="/",
        secure=_is_secure(settings),
        httponly=True,
        samesite="lax",
    )


def _is_secure(settings: Settings) -> bool:
    return settings.eve_callback_url.startswith("https://")
