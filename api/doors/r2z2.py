"""R2Z2: numbered files, as zKillboard serves them; a number is a sequence of the feed.

The file of an imported day is R2Z2's placeholder, without a killmail. A correction is a file of
its own under a new number.

Source: zKillboard's API reference and `cron/9.queueSequences.php` (read 2026-11-21).
"""

from typing import Final

import msgspec
from fastapi import APIRouter, Request, Response

from api.doors.answers import cached, door, parameter
from api.doors.client import client_of
from api.doors.metrics import DELIVERIES
from api.doors.parameters import MAX_SEQUENCE
from api.state import state_of
from api.view import FeedView, View

ROUTER: Final = APIRouter()
FILE_AGE_S: Final = 86_400
"""How long caches may keep a file: a day, as upstream."""
_NUMBER: Final = parameter("number", "A sequence of the feed.", where="path", of="string")
_PLACEHOLDER: Final = (
    b'{"killmail_id":null,"hash":null,"esi":null,"zkb":{"hash":null,'
    b'"href":"https://esi.evetech.net/killmails///"},"uploaded_at":%d,"sequence_id":%d}'
)


@door(ROUTER, "/ephemeral/sequence.json", name="r2z2_sequence")
async def sequence(request: Request) -> Response:
    """Return the number of the newest file."""
    state = state_of(request)
    state.doors.files.count(client_of(request))
    return cached(request, b'{"sequence":%d}' % state.tail.last, 0)


@door(ROUTER, "/ephemeral/{number}.json", _NUMBER, name="r2z2_file")
async def file(request: Request) -> Response:
    """Return the file of a number: a killmail with its zkb block, or R2Z2's placeholder."""
    state = state_of(request)
    state.doors.files.count(client_of(request))
    text = request.path_params["number"]
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_SEQUENCE))
    view = await state.tail.at(int(text)) if is_number else None
    if view is None:  # no cache may keep that it isn't there yet
        return Response("Not Found", 404, {"Cache-Control": "no-store"}, "text/plain")
    DELIVERIES.labels("r2z2").inc()
    return cached(request, _document(view), FILE_AGE_S)


def _document(view: FeedView) -> bytes:
    uploaded_at = int(view.entry.stored_at)
    if not isinstance(view, View):
        return _PLACEHOLDER % (uploaded_at, view.sequence)
    entry = view.entry
    return b'{"killmail_id":%d,"hash":%b,"esi":%b%b,"uploaded_at":%d,"sequence_id":%d}' % (
        entry.killmail_id,
        msgspec.json.encode(entry.hash),
        entry.killmail,
        b',"zkb":%b' % entry.zkb if entry.zkb else b"",
        uploaded_at,
        entry.sequence,
    )
