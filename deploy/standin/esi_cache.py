"""ESI's caching headers: how long an answer stands, and 304 for who knows it already.

Source: ESI's best practices (read 2026-11-21): Expires - Last-Modified is how long.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import NamedTuple

from aiohttp import web

from deploy.standin.esi_gateway import JSON


class Lifetime(NamedTuple):
    """From when on and until when an answer stands, in Unix seconds."""

    modified_s: float
    expires_s: float


class Lifetimes:
    """Remembers since when each answer stands; another body starts anew."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[bytes, Lifetime]] = {}

    def of(self, path: str, body: bytes, now_s: float, max_age_s: float) -> Lifetime:
        """Tell how long this body of a path stands."""
        digest = hashlib.sha1(body, usedforsecurity=False).digest()
        known = self._known.get(path)
        if known and known[0] == digest and now_s < known[1].expires_s:
            return known[1]
        lifetime = Lifetime(int(now_s), int(now_s) + max_age_s)
        self._known[path] = (digest, lifetime)
        return lifetime


def cacheable(
    request: web.Request,
    body: bytes,
    lifetime: Lifetime,
    *,
    etag: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Answer 200 with the headers of its lifetime, or 304 to who knows the body already.

    Args:
        request: may say what it knows.
        body: JSON.
        lifetime: how long it stands.
        etag: without quotes; None takes a digest of the body.
        headers: more of them.
    """
    etag = f'"{etag or hashlib.sha1(body, usedforsecurity=False).hexdigest()}"'
    modified = _http_date(lifetime.modified_s)
    all_headers = {
        **JSON,
        **(headers or {}),
        "Cache-Control": f"public, max-age={max(0, int(lifetime.expires_s - lifetime.modified_s))}",
        "ETag": etag,
        "Last-Modified": modified,
        "Expires": _http_date(lifetime.expires_s),
    }
    if _unchanged(request, etag, modified):
        return web.Response(status=304, headers=all_headers)
    return web.Response(body=body, headers=all_headers)


def _http_date(at_s: float) -> str:
    return format_datetime(datetime.fromtimestamp(int(at_s), UTC), usegmt=True)


def _unchanged(request: web.Request, etag: str, last_modified: str) -> bool:
    known = request.headers.get("If-None-Match")
    if known is not None:
        tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
        return etag in tags or "*" in tags
    return request.headers.get("If-Modified-Since") == last_modified
