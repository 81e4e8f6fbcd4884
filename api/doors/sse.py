"""Server-Sent Events: the feed for browsers (`EventSource`) and for curl.

Source: WHATWG HTML, "Server-sent events" (read 2026-11-27).
"""

from random import randint
from typing import Final

import msgspec
from fastapi import APIRouter, Request, Response

from api.doors.answers import door
from api.doors.entries import encoded
from api.doors.following import following
from api.doors.live import Wire
from api.doors.parameters import one
from api.state import state_of
from api.view import FeedView

RECONNECT_MS: Final = (1_000, 4_000)
"""After which a browser connects again; each at another time, as all lose a gateway at once."""

ROUTER: Final = APIRouter()


@door(ROUTER, "/feed.sse", name="feed_as_server_sent_events", include_in_schema=False)
async def feed_sse(request: Request) -> Response:
    """Follow the feed as Server-Sent Events, whose ids are the sequences."""
    after = request.headers.get("Last-Event-ID") or one(request, "after")
    return await following(request, state_of(request).doors.sse, _WIRE, after)


def _opening() -> bytes:
    return b"retry: %d\n\n" % randint(*RECONNECT_MS)


def _entry(view: FeedView) -> bytes:
    event = view.entry.kind.encode()
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (view.entry.sequence, event, encoded(view))


def _heartbeat(position: int) -> bytes:
    """Write a comment, and an id without data: no event, but the client resumes from there."""
    return b": heartbeat\nid: %d\n\n" % position


def _end(reason: str, position: int) -> bytes:
    data = msgspec.json.encode({"reason": reason, "after": position})
    return b"id: %d\nevent: end\ndata: %b\n\n" % (position, data)


_WIRE: Final = Wire("text/event-stream", _opening, _entry, _heartbeat, _end)
