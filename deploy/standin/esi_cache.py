"""ESI's caching headers: the lifetime of an answer, and 304 for a client that has it.

Source: ESI's best practices (read 2026-11-21): the lifetime is Expires - Last-Modified.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import NamedTuple

from aiohttp import web

from deploy.standin.esi_gateway import JSON


class Lifetime(NamedTuple):
    """When an answer was modified and when it expires, in Unix seconds."""

    modified_s: float
    expires_s: float


class Lifetimes:
    """The lifetimes of the answers by path; another body has a new lifetime."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[bytes, Lifetime]] = {}

    def of(self, path: str, body: bytes, now_s: float, max_age_s: float) -> Lifetime:
        """Return the lifetime of a path's body."""
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
    """Return 200 with the headers of the lifetime, or 304 if the client has the body.

    Args:
        request: may have the client's ETag or date.
        body: JSON.
        lifetime: the lifetime of the body.
        etag: without quotes; by default a digest of the body.
        headers: additional headers.
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
