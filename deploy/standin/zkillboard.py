"""zKillboard's API: the killmails of a character, corporation or alliance, page by page.

Source: zKillboard's API reference, and its code that reads the path (read 2026-11-27). Of the
filters only those of entities, sides and pages are here.
"""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Final

import msgspec
from aiohttp import web

from deploy.standin.limits import FloatingWindow, RequestLimit
from deploy.standin.participants import Entry, Kind, Participants
from deploy.standin.playback import Playback
from deploy.standin.r2z2 import R2z2

MAX_PAGE: Final = 100
MAX_AGE_S: Final = 3_600
WITHHELD_S: Final = 300
"""Killmails younger than this are left out."""
MAX_ERRORS: Final = 40
ERROR_WINDOW_S: Final = 300.0

_JSON: Final = {"Content-Type": "application/json; charset=utf-8"}
_ENTITIES: Final[dict[str, Kind]] = {
    "characterID": "character",
    "corporationID": "corporation",
    "allianceID": "alliance",
}


class _WrongPath(Exception):
    """What zKillboard says of a path that it doesn't take."""


class Query(msgspec.Struct):
    """What a path asks for. Without a side: both."""

    entities: dict[Kind, int] = msgspec.field(default_factory=dict)
    sides: set[str] = msgspec.field(default_factory=set)
    page: int = 1


class Zkillboard:
    """Serves `/api`."""

    def __init__(self, playback: Playback, participants: Participants, r2z2: R2z2) -> None:
        self._playback = playback
        self._participants = participants
        self._r2z2 = r2z2
        self._pace: dict[str | None, RequestLimit] = {}
        self._errors: dict[str | None, FloatingWindow] = {}
        self._asked: dict[tuple[str | None, str], float] = {}
        self._repeated = 0

    def routes(self) -> list[web.RouteDef]:
        """List what is served."""
        return [
            web.get("/api/blocked.json", self.blocked),
            web.get("/api/history/{day}/", self.history_moved),
            web.get("/api/history/{day}.json", self.history),
            web.get("/api/{modifiers:.*}", self.killmails),
        ]

    def counted(self) -> dict[str, int]:
        """Tell how well clients behaved.

        Shape: {"highest_per_s": the most requests of one address within one second, "refused":
        requests above the pace, refused or not, "repeated": requests for a URL within an hour of
        the last one, "errors": answers that were an error}.
        """
        return {
            "highest_per_s": max((one.highest_per_s for one in self._pace.values()), default=0),
            "refused": self._playback.stats.refused["zkillboard"],
            "repeated": self._repeated,
            "errors": self._playback.stats.faults["zkillboard_error"],
        }

    async def killmails(self, request: web.Request) -> web.Response:
        """Answer one page of an entity's killmails, newest first."""
        refusal = await self._refusal(request)
        if refusal is None:
            await self._participants.catch_up(self._playback.now_s())
        return self._counted("killmails", refusal or self._page(request))

    async def history_moved(self, request: web.Request) -> web.Response:
        """Answer the old name of a day's ids and hashes with the one of now."""
        refusal = await self._refusal(request)
        moved = _redirect(f"/api/history/{request.match_info['day']}.json")
        return self._counted("history", refusal or moved)

    async def history(self, request: web.Request) -> web.Response:
        """Answer the ids and hashes of one day, as R2Z2 has them."""
        refusal = await self._refusal(request)
        hashes = self._r2z2.hashes_of(request.match_info["day"])
        found = web.Response(status=404) if hashes is None else self._json(hashes)
        return self._counted("history", refusal or found)

    async def blocked(self, _: web.Request) -> web.Response:
        """Answer who made too many errors."""
        body = b'{"error":"Too many errors. Please fix your application."}'
        return self._counted("blocked", web.Response(body=body, headers=_JSON))

    async def _refusal(self, request: web.Request) -> web.Response | None:
        playback = self._playback
        faults, now_s = playback.faults, playback.now_s()
        if faults.zkillboard_latency_ms:
            await asyncio.sleep(faults.zkillboard_latency_ms / 1000)
        if not request.headers.get("User-Agent"):
            return web.Response(status=403, body=b"a User-Agent is needed")
        self._count_repeated(request, now_s)
        if not self._is_within_pace(request, now_s) and faults.zkillboard_pace:
            return web.Response(status=429, body=b"slow down")
        if request.query_string:
            return _forbidden("Do not include a query string to evade cache")
        if self._errors_of(request).used(now_s) > MAX_ERRORS:
            return _redirect("/api/blocked.json")
        if faults.zkillboard_status is None:
            return None
        playback.stats.faults["zkillboard_status"] += 1
        reason = "Reinforced mode, please try again later"
        return web.Response(
            status=faults.zkillboard_status,
            reason=reason if faults.zkillboard_status == 503 else None,
            body=reason.encode(),
        )

    def _is_within_pace(self, request: web.Request, now_s: float) -> bool:
        limit = self._pace.get(request.remote)
        if limit is None:
            limit = RequestLimit(self._playback.options.zkillboard_per_s)
            self._pace[request.remote] = limit
        within = limit.allows(now_s)
        self._playback.stats.refused["zkillboard"] += not within
        return within

    def _page(self, request: web.Request) -> web.Response:
        try:
            query = read_path(request.match_info["modifiers"])
        except _WrongPath as reason:
            self._errors_of(request).spend(self._playback.now_s(), 1, enforce=False)
            self._playback.stats.faults["zkillboard_error"] += 1
            body = msgspec.json.encode({"error": str(reason)})
            return web.Response(body=body, headers=_JSON)
        size = self._playback.options.zkillboard_page_size
        first = (query.page - 1) * size
        page = self._find(query)[first : first + size]
        return self._json(b"[" + b",".join(self._killmail(entry) for entry in page) + b"]")

    def _find(self, query: Query) -> list[Entry]:
        found: list[Entry] | None = None
        for kind, entity_id in query.entities.items():
            entries = self._participants.newest_first(
                kind,
                entity_id,
                kills=query.sides != {"losses"},
                losses=query.sides != {"kills"},
            )
            if found is not None:
                known = set(found)
                entries = [entry for entry in entries if entry in known]
            found = entries
        until_s = self._playback.now_s() - WITHHELD_S
        return [entry for entry in found or () if entry.killed_at_s <= until_s]

    def _killmail(self, entry: Entry) -> bytes:
        """Write ESI's text as it is, with zKillboard's block as one more key."""
        played = self._playback.dataset.killmails[entry.place]
        return played.body.rstrip().removesuffix(b"}") + b',"zkb":' + played.zkb + b"}"

    def _json(self, body: bytes) -> web.Response:
        expires = datetime.fromtimestamp(self._playback.now_s(), UTC) + timedelta(seconds=MAX_AGE_S)
        headers = {
            "Cache-Control": f"public, max-age={MAX_AGE_S}",
            "Expires": format_datetime(expires, usegmt=True),
            "Access-Control-Allow-Origin": "*",
        }
        return web.Response(body=body, headers=_JSON | headers)

    def _errors_of(self, request: web.Request) -> FloatingWindow:
        errors = self._errors.get(request.remote)
        if errors is None:
            errors = self._errors[request.remote] = FloatingWindow(MAX_ERRORS, ERROR_WINDOW_S)
        return errors

    def _count_repeated(self, request: web.Request, now_s: float) -> None:
        key = (request.remote, request.path_qs)
        if now_s - self._asked.get(key, -MAX_AGE_S) < MAX_AGE_S:
            self._repeated += 1
        self._asked[key] = now_s

    def _counted(self, endpoint: str, answer: web.Response) -> web.Response:
        self._playback.stats.requests["zkillboard", endpoint, answer.status] += 1
        return answer


def read_path(path: str) -> Query:
    """Read what stands behind `/api/`.

    Raises:
        _WrongPath: zKillboard doesn't take it; says why in its words.
    """
    if not path.endswith("/"):
        raise _WrongPath("Please end the path with a slash /")
    query = Query()
    words = iter(path.removesuffix("/").split("/"))
    for word in words:
        _read_modifier(word, words, query)
    if not query.entities:
        raise _WrongPath("Please provide an entity filter first.")
    return query


def _read_modifier(word: str, words: Iterator[str], query: Query) -> None:
    if word == "":
        raise _WrongPath("Please remove the double slash // from the call")
    if word in ("kills", "losses"):
        query.sides.add(word)
    elif word in _ENTITIES:
        query.entities[_ENTITIES[word]] = _number(next(words, ""))
    elif word == "page":
        if not query.entities:
            raise _WrongPath("Please provide an entity filter first.")
        query.page = _page_number(next(words, ""))
    else:
        raise _WrongPath(f"{word} is an invalid parameter")


def _number(given: str) -> int:
    if given.startswith("0"):
        raise _WrongPath("Do not prefix values with 0")
    if not (given.isascii() and given.isdigit() and len(given) < 19):
        raise _WrongPath(f"{given} is not an integer")
    return int(given)


def _page_number(given: str) -> int:
    page = _number(given)
    if page > MAX_PAGE:
        raise _WrongPath(f"page value > {MAX_PAGE} not allowed")
    return page


def _forbidden(reason: str) -> web.Response:
    return web.Response(status=403, reason=f"Forbidden - {reason}", body=reason.encode())


def _redirect(location: str) -> web.Response:
    return web.Response(status=302, headers={"Location": location})
