"""NDJSON: the feed as lines of JSON, for programs that read a stream."""

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

ROUTER: Final = APIRouter()


@door(ROUTER, "/feed.ndjson", name="feed_as_ndjson", include_in_schema=False)
async def feed_ndjson(request: Request) -> Response:
    """Follow the feed as lines of JSON."""
    return await following(request, state_of(request).doors.ndjson, _WIRE, one(request, "after"))


def _entry(view: FeedView) -> bytes:
    return encoded(view) + b"\n"


def _heartbeat(position: int) -> bytes:
    return msgspec.json.encode({"kind": "heartbeat", "sequence": position}) + b"\n"


def _end(reason: str, position: int) -> bytes:
    return msgspec.json.encode({"kind": "end", "reason": reason, "sequence": position}) + b"\n"


_WIRE: Final = Wire("application/x-ndjson", bytes, _entry, _heartbeat, _end)
