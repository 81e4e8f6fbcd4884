"""RedisQ: a queue for each reader, one killmail for each poll.

Positions, not killmails, are kept for a queue, and an object's id names its entry of the feed: a
queue costs some bytes, whatever it lags, and any gateway serves any object.

Source: zKillboard's RedisQ, README, `listen.js` and `object.js` (read 2026-11-21). Its random delay
of a poll's answer, and its refusals since the announced end, are left out.
"""

import asyncio
import re
from contextlib import aclosing, suppress
from typing import Final

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse

from actors.shared.cancellation import cancel_and_wait
from api.doors.answers import cached, door, parameter
from api.doors.client import client_of
from api.doors.entries import is_news
from api.doors.filtering import tree_of_string, wanted_by
from api.doors.live import Wanted, disconnect
from api.doors.metrics import DELIVERIES, REFUSED
from api.doors.parameters import one
from api.doors.queues import QueueBusy, QueuesUnavailable, Turn, turn_of
from api.errors import BadInput
from api.state import State, state_of
from api.tail import TooSlow
from api.view import View

ROUTER: Final = APIRouter()
MIN_TTW_S: Final = 1
MAX_TTW_S: Final = 10
MIN_TTL_S: Final = 1
MAX_TTL_S: Final = 10_800
OBJECT_AGE_S: Final = 10_800
"""How long caches may keep an object."""
MAX_ID_CHARS: Final = 200
"""The longest id of a queue."""
NO_OBJECT: Final = "null"
METADATA: Final = "m"
"""Marks the id of an object without the killmail."""
_OBJECT_ID: Final = re.compile(rf"(?P<feed_id>.*)-(?P<sequence>[1-9][0-9]{{0,17}}){METADATA}?")
_NOTHING: Final = b'{"package":null}'
_OF_POLLS: Final = (
    parameter("queueID", "The name of your queue.", of="string"),
    parameter("ttw", "Seconds to wait for a killmail.", minimum=MIN_TTW_S, maximum=MAX_TTW_S),
    parameter("ttl", "Seconds that the queue lives.", minimum=MIN_TTL_S, maximum=MAX_TTL_S),
    parameter("filter", "A filter string of RedisQ.", of="string"),
    parameter("killmail", "0 for packages without the killmail.", minimum=0, maximum=1),
)
_OBJECT: Final = parameter("objectID", "The id in the redirect of a poll.", of="string")
_NO_STORE: Final = {"Cache-Control": "no-store"}


@door(ROUTER, "/listen.php", *_OF_POLLS, name="redisq_poll")
async def listen(request: Request) -> Response:
    """Wait for a queue's next killmail; redirect to its object, or to the empty one."""
    state, client = state_of(request), client_of(request)
    queue_id = (one(request, "queueID") or "").strip()
    if not queue_id:  # upstream's status
        return PlainTextResponse("queueID is required", 429, _NO_STORE)
    if len(queue_id) > MAX_ID_CHARS:
        raise BadInput(f"queueID: at most {MAX_ID_CHARS} characters")
    ttw_s = _clamped(one(request, "ttw"), MIN_TTW_S, MAX_TTW_S)
    ttl_s = _clamped(one(request, "ttl"), MIN_TTL_S, MAX_TTL_S)
    wanted = wanted_by(state.facts, await tree_of_string(state.facts, one(request, "filter")))
    shape = _shape(one(request, "killmail"))
    if request.method == "HEAD":
        return Response(headers=_NO_STORE)
    state.doors.polls.count(client)
    try:
        with state.doors.redisq.taken(client):
            name = f"{state.tail.feed_id}:{queue_id}"
            start = state.tail.last
            async with turn_of(state.doors.queues, name, client, ttl_s, start) as turn:
                view = await _next(request, state, turn, ttw_s, wanted)
    except QueueBusy as error:
        REFUSED.labels("redisq").inc()
        return PlainTextResponse(str(error), 429, _NO_STORE)
    except QueuesUnavailable as error:
        return JSONResponse({"error": str(error)}, 503, _NO_STORE)
    object_id = NO_OBJECT if view is None else f"{view.entry.feed_id}-{view.sequence}{shape}"
    return RedirectResponse(f"/object.php?objectID={object_id}", 302, _NO_STORE)


@door(ROUTER, "/object.php", _OBJECT, name="redisq_object")
async def get_object(request: Request) -> Response:
    """Return the package of a redirect."""
    object_id = one(request, "objectID") or ""
    if object_id == NO_OBJECT:
        return cached(request, _NOTHING, OBJECT_AGE_S)
    view = await _found(state_of(request), object_id)
    if view is None:
        return PlainTextResponse("Not Found", 404, _NO_STORE)
    DELIVERIES.labels("redisq").inc()
    return cached(request, _package(view, not object_id.endswith(METADATA)), OBJECT_AGE_S)


async def _next(
    request: Request, state: State, turn: Turn, ttw_s: int, wanted: Wanted
) -> View | None:
    """Return the next killmail that is wanted; None when none comes in time.

    It stays in the queue of a client that leaves meanwhile.
    """
    reading = state.doors.turn_of(client_of(request))
    seeking = asyncio.create_task(_seek(state, reading, turn, wanted))
    closing = asyncio.create_task(state.doors.closing.wait())
    leaving = asyncio.create_task(disconnect(request.receive))
    tasks = seeking, closing, leaving
    try:
        await asyncio.wait(tasks, timeout=ttw_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_and_wait(*tasks)
    view = None if seeking.cancelled() else seeking.result()
    if view is not None and leaving.cancelled():
        turn.position = view.sequence or turn.position
    return view


async def _seek(state: State, reading: asyncio.Lock, turn: Turn, wanted: Wanted) -> View | None:
    """Return the next killmail that is wanted; what comes before it leaves the queue."""
    with suppress(TooSlow):  # the feed grows faster than it is searched; the next poll goes on
        async with aclosing(state.tail.follow(turn.position, reading)) as views:
            async for view in views:
                if is_news(view) and wanted(view):
                    return view
                turn.position = view.sequence or turn.position
    return None


async def _found(state: State, object_id: str) -> View | None:
    match = _OBJECT_ID.fullmatch(object_id)
    if match is None or match["feed_id"] != state.tail.feed_id:
        return None
    view = await state.tail.at(int(match["sequence"]))
    return view if isinstance(view, View) else None


def _package(view: View, whole: bool) -> bytes:
    entry = view.entry
    killmail = b',"killmail":%b' % entry.killmail if whole else b""
    return b'{"package":{"killID":%d%b,"zkb":%b}}' % (entry.killmail_id, killmail, _zkb(view))


def _zkb(view: View) -> bytes:
    """Return zKillboard's block, with the hash by which a client can fetch the killmail."""
    entry, zkb = view.entry, view.zkb if isinstance(view.zkb, dict) else {}
    if zkb.get("hash") == entry.hash and "href" in zkb:
        return bytes(entry.zkb)
    href = f"https://esi.evetech.net/killmails/{entry.killmail_id}/{entry.hash}/"
    return msgspec.json.encode(zkb | {"hash": entry.hash, "href": href})


def _shape(text: str | None) -> str:
    """Return what an object's id says of its shape.

    Raises:
        BadInput: the parameter is neither 0 nor 1.
    """
    if text not in (None, "0", "1"):
        raise BadInput("killmail: 1 for packages with the killmail, 0 for those without")
    return METADATA if text == "0" else ""


def _clamped(text: str | None, minimum: int, maximum: int) -> int:
    """Read a number as upstream does: what is none counts as the maximum."""
    try:
        return min(max(int(text or maximum), minimum), maximum)
    except ValueError:
        return maximum
