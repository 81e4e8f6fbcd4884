"""Conditional requests: how old a response is, and when ESI may be asked for it again.

A request before a response's `Expires` counts as circumvention of ESI's cache, for which it bans.

Source: ESI's documentation, best practices (read 2026-11-21).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final, Generic, TypeVar

from actors.esi.answer import Answer
from actors.esi.client import Esi
from actors.esi.request import Request
from actors.shared.errors import Invalid

T = TypeVar("T")

MAX_TTL: Final = timedelta(days=30)
"""The longest time for which ESI lets a response be cached."""


@dataclass(frozen=True)
class Fetched(Generic[T]):
    """A response of a route that ESI caches."""

    value: T | None
    """None: not modified since the caller's copy."""
    expires_at: datetime
    """When ESI may be asked for it again, by our clock."""
    etag: str | None
    """For the next request."""
    pages: int | None = None
    """How many pages a list has, where ESI says so."""


async def fetch_cached(
    esi: Esi, request: Request, decode: Callable[[bytes], T], ttl_s: int
) -> Fetched[T]:
    """Send a request, conditional if it has an ETag.

    Args:
        esi: the client.
        request: the request.
        decode: decodes the body and raises `Invalid` when it isn't the requested object.
        ttl_s: how long the route's responses are cached, for a response that doesn't say so.

    Raises:
        Refused, UnexpectedStatus, Garbled, Unavailable, RetryLater: as `Esi.ask`.
        TokenRejected, Forbidden: only with a token.
    """

    def read(answer: Answer) -> Fetched[T]:
        return Fetched(
            value=None if answer.status == 304 else decode(answer.body),
            expires_at=expires_at(answer, ttl_s, datetime.now(UTC)),
            etag=answer.headers.get("ETag", request.etag),
            pages=_pages(answer),
        )

    return await esi.ask(request, read)


def expires_at(answer: Answer, ttl_s: int, now: datetime) -> datetime:
    """Return when ESI may be asked again, by our clock.

    ESI's dates are compared with each other, so that a difference of the clocks doesn't matter.
    """
    expires, date = _date(answer, "Expires"), _date(answer, "Date")
    ttl = expires - (date or now) if expires else timedelta(seconds=ttl_s)
    return now + min(max(ttl, timedelta()), MAX_TTL)


def _date(answer: Answer, header: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(answer.headers[header])
    except (KeyError, ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _pages(answer: Answer) -> int | None:
    if "X-Pages" not in answer.headers:
        return None
    pages = answer.number("X-Pages")
    if not pages:
        raise Invalid("X-Pages is no number of pages")
    return pages
