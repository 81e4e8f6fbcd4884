"""The gateway's own origin; only its pages may use a browser's session."""

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from actors.shared.settings import Settings

_DEFAULT_PORTS = {"http": 80, "https": 443}
_READS = ("GET", "HEAD")


def own_origin(settings: Settings) -> str:
    """Return the origin under which browsers see the gateway: that of the registered callback.

    The Host header isn't used: a foreign page can set it by DNS rebinding.
    """
    return origin_of(settings.eve_callback_url)


def origin_of(url: str) -> str:
    """Return the origin of a URL, as browsers write it."""
    parts = urlsplit(url)
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    port = parts.port
    return f"{scheme}://{host}" + ("" if port in (None, _DEFAULT_PORTS.get(scheme)) else f":{port}")


def may_use_cookies(connection: HTTPConnection, settings: Settings) -> bool:
    """Return whether the cookies of a request or websocket are accepted.

    They are if its Origin is the gateway's own. A request without Origin is accepted only if it
    can't change anything: browsers omit Origin when they open an address, but send it with each
    POST and each websocket handshake.
    """
    origin = connection.headers.get("origin")
    if origin is None:
        return connection.scope["type"] == "http" and connection.scope["method"] in _READS
    return origin == own_origin(settings)
