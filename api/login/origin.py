"""The gateway's own origin: the only one whose pages may use a browser's session."""

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from actors.shared.settings import Settings

_DEFAULT_PORTS = {"http": 80, "https": 443}
_READS = ("GET", "HEAD")


def own_origin(settings: Settings) -> str:
    """Return the origin that users' browsers see: that of the registered callback.

    The Host header of a request isn't asked, since a foreign page can choose it by its own DNS.
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
    """Tell whether the cookies of a request or websocket count.

    They do when its Origin is ours. Browsers leave it out when they visit an address, which only
    reads; they never do for websockets, and for what changes something.
    """
    origin = connection.headers.get("origin")
    if origin is None:
        return connection.scope["type"] == "http" and connection.scope["method"] in _READS
    return origin == own_origin(settings)
