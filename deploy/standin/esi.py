"""ESI: killmail bodies, names and status, with its two limiters.

Source: ESI's OpenAPI document (compatibility date 2026-08-18) and its documentation on rate
limits and errors (read 2026-11-21).
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random
from typing import Annotated, Final, NamedTuple

import msgspec
from aiohttp import web

from deploy.standin.killmails import UpstreamKillmail
from deploy.standin.limits import ErrorBudget, FloatingWindow
from deploy.standin.playback import Playback

TOKENS_BY_STATUS: Final = {2: 2, 3: 1, 4: 5, 5: 0}
"""Cost of an answer by the hundreds of its status; 429 costs nothing."""

MAX_AGE_S: Final = 2_592_000
PREFIXES: Final = ("", "/latest", "/v1")
"""Paths have no version any more; the old prefixes still answer."""

_NO_SUCH_KILLMAIL: Final = "Invalid killmail_id and/or killmail_hash"
_NO_SUCH_ID: Final = "Ensure all IDs are valid before resolving."
_HTML: Final = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>"
_DOWN: Final = b'{"error":"Timeout contacting tranquility","timeout":10}'
_ERROR_LIMITED: Final = (
    "This software has exceeded the error limit for ESI. If you are a user, please contact the "
    "maintainer of this software. If you are a developer/maintainer, please make a greater effort "
    "in the future to receive valid responses."
)
_FAILURES: Final = {500: "Internal server error", 502: "Bad gateway", 503: "Service unavailable"}


class Group(NamedTuple):
    """A rate limit group of ESI's: a bucket for each source address."""

    name: str
    tokens: int
    window_s: float


class Route(NamedTuple):
    """What the limiters know of a route. Without a group its errors count instead."""

    endpoint: str
    group: Group | None
    compatibility_date: str = "2020-01-01"


Handler = Callable[[web.Request], web.Response]
_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Ids = Annotated[list[_Int64], msgspec.Meta(min_length=1, max_length=1000)]


class Esi:
    """Serves `/killmails`, `/universe/names`, `/status` and `/meta/status`."""

    def __init__(self, playback: Playback) -> None:
        options = playback.options
        self._playback = playback
        self._random = Random(options.seed)
        self._buckets: dict[tuple[str, str | None], FloatingWindow] = {}
        self._errors: dict[str | None, ErrorBudget] = {}
        window_s = options.esi_window_s
        self._killmail = Route("killmail", Group("killmail", options.esi_tokens, window_s))
        self._names = Route("names", None)
        self._status = Route("status", Group("status", 600, window_s))
        self._meta = Route("meta_status", Group("meta", 150, window_s), "2025-11-06")
        started = datetime.fromtimestamp(options.clock(), UTC)
        self._last_modified = format_datetime(started, usegmt=True)
        expires = started + timedelta(seconds=MAX_AGE_S)
        self._cached = {
            "Cache-Control": f"public, max-age={MAX_AGE_S}",
            "Last-Modified": self._last_modified,
            "Expires": format_datetime(expires, usegmt=True),
        }

    def routes(self) -> list[web.RouteDef]:
        """List what is served, each with and without a slash at the end."""
        paths = [
            (web.get, "/killmails/{killmail_id}/{killmail_hash}", self.killmail),
            (web.post, "/universe/names", self.names),
            (web.get, "/status", self.status),
            (web.get, "/meta/status", self.meta_status),
        ]
        return [
            verb(prefix + path + slash, handler)
            for prefix in PREFIXES
            for verb, path, handler in paths
            for slash in ("", "/")
        ]

    def tokens_used(self) -> int:
        """Tokens of the killmail bucket that are spent now, by the busiest address."""
        now_s = self._playback.now_s()
        return max((bucket.used(now_s) for bucket in self._killmail_buckets()), default=0)

    def tokens_highest(self) -> int:
        """The most tokens of the killmail bucket that were ever spent within one window."""
        return max((bucket.highest_used for bucket in self._killmail_buckets()), default=0)

    async def killmail(self, request: web.Request) -> web.Response:
        """Answer one body, exactly as the dataset has it."""
        return await self._answer(request, self._killmail, self._find_killmail)

    async def names(self, request: web.Request) -> web.Response:
        """Answer the names of up to 1,000 ids, or nothing when one is unknown."""
        body = await request.read()
        return await self._answer(request, self._names, lambda _: self._find_names(body))

    async def status(self, request: web.Request) -> web.Response:
        """Answer how Tranquility is."""
        return await self._answer(request, self._status, self._status_answer)

    async def meta_status(self, request: web.Request) -> web.Response:
        """Answer how each route is."""
        return await self._answer(request, self._meta, self._meta_answer)

    async def _answer(self, request: web.Request, route: Route, handle: Handler) -> web.Response:
        now_s = self._playback.now_s()
        limits = self._playback.faults.limits
        errors = self._errors.setdefault(
            request.remote, ErrorBudget(self._playback.options.esi_errors)
        )
        if limits and errors.remaining(now_s) == 0:
            self._playback.stats.refused["esi_errors"] += 1
            answer = _error(420, _ERROR_LIMITED)
            _add_error_headers(answer, errors, now_s)
        else:
            answer = self._injected_failure(request, route) or handle(request)
            answer.headers["X-Compatibility-Date"] = route.compatibility_date
            if route.group:
                answer = self._charge(request, route.group, answer, now_s)
            else:
                self._count_error(answer, errors, now_s)
        self._playback.stats.requests["esi", route.endpoint, answer.status] += 1
        if self._playback.faults.esi_latency_ms:
            await asyncio.sleep(self._playback.faults.esi_latency_ms / 1000)
        return answer

    def _charge(
        self, request: web.Request, group: Group, answer: web.Response, now_s: float
    ) -> web.Response:
        key = (group.name, request.remote)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = FloatingWindow(group.tokens, group.window_s)
        limits = self._playback.faults.limits
        cost = TOKENS_BY_STATUS[answer.status // 100]
        if not bucket.spend(now_s, cost, enforce=limits):
            self._playback.stats.refused[group.name] += 1
            answer = _error(429, "Rate limit exceeded")
            answer.headers["Retry-After"] = str(bucket.retry_after_s(now_s, cost))
            cost = 0
        if limits:
            used = bucket.used(now_s)
            answer.headers["X-Ratelimit-Group"] = group.name
            answer.headers["X-Ratelimit-Limit"] = f"{group.tokens}/{_window(group.window_s)}"
            answer.headers["X-Ratelimit-Remaining"] = str(group.tokens - used)
            answer.headers["X-Ratelimit-Used"] = str(cost)
        return answer

    def _count_error(self, answer: web.Response, errors: ErrorBudget, now_s: float) -> None:
        if not self._playback.faults.limits:
            return
        if answer.status >= 400:
            errors.error(now_s)
        _add_error_headers(answer, errors, now_s)

    def _injected_failure(self, request: web.Request, route: Route) -> web.Response | None:
        wrong_date = _check_compatibility_date(request, self._playback.now_s())
        if wrong_date is not None:
            return wrong_date
        faults = self._playback.faults
        if faults.tranquility_down and route is not self._meta:
            self._playback.stats.faults["tranquility_down"] += 1
            status = 503 if route is self._status else 504
            return web.Response(status=status, body=_DOWN, headers=_JSON)
        failing = self._playback.count_down("esi_fail_next")
        if not failing and not self._hits(faults.esi_error_rate):
            return None
        self._playback.stats.faults["esi_error"] += 1
        status = faults.esi_error_status
        return _error(status, _FAILURES.get(status, "Timeout contacting tranquility"))

    def _find_killmail(self, request: web.Request) -> web.Response:
        given_id = request.match_info["killmail_id"]
        if not (given_id.isascii() and given_id.isdigit()):
            return _error(400, "killmail_id must be an integer")
        played = self._playback.dataset.killmails.find(int(given_id))
        if played is None or played.killmail_hash != request.match_info["killmail_hash"]:
            return _error(422, _NO_SUCH_KILLMAIL)
        wrong = self._wrong_answer(request, played)
        if wrong is not None:
            return wrong
        etag = f'"{played.killmail_hash}"'
        headers = _JSON | self._cached | {"ETag": etag}
        if _unchanged(request, etag, self._last_modified):
            return web.Response(status=304, headers=headers)
        return web.Response(body=played.body, headers=headers)

    def _wrong_answer(
        self, request: web.Request, killmail: UpstreamKillmail
    ) -> web.Response | None:
        faults, given = self._playback.faults, self._playback.stats.faults
        status = faults.esi_killmail_status.get(killmail.killmail_id)
        if status is not None:
            given["esi_killmail_status"] += 1
            answer = _error(status, "No access")
            if status in (301, 302, 303, 307, 308):
                answer.headers["Location"] = f"/moved{request.path}"
            return answer
        if not faults.esi_wrong or not self._hits(faults.esi_wrong_rate):
            return None
        given["esi_wrong"] += 1
        kind = self._random.choice(faults.esi_wrong)
        if kind in ("404", "422"):
            return _error(int(kind), _NO_SUCH_KILLMAIL)
        if kind == "html":
            return web.Response(body=_HTML, content_type="text/html")
        cut = b"" if kind == "empty" else killmail.body[: len(killmail.body) // 2]
        return web.Response(body=cut, headers=_JSON)

    def _hits(self, rate: float) -> bool:
        return rate > 0 and self._random.random() < rate

    def _find_names(self, body: bytes) -> web.Response:
        try:
            ids = msgspec.json.decode(body, type=_Ids)
        except msgspec.DecodeError as error:
            return _error(400, f"Request validation failed: {error}")
        if len(set(ids)) != len(ids):
            return _error(400, "Request validation failed: the ids must be unique")
        faults = self._playback.faults
        found = []
        for entity_id in ids:
            name = None if entity_id in faults.unknown_ids else self._playback.names.find(entity_id)
            if name is None:
                return _error(404, _NO_SUCH_ID)
            if faults.names_refused and name.category in ("character", "corporation"):
                self._playback.stats.faults["names_refused"] += 1
                return _error(404, _NO_SUCH_ID)
            known_as = faults.renamed.get(entity_id, name.name)
            found.append({"category": name.category, "id": entity_id, "name": known_as})
        return web.Response(body=msgspec.json.encode(found), headers=_JSON)

    def _status_answer(self, _: web.Request) -> web.Response:
        today = datetime.fromtimestamp(self._playback.now_s(), UTC)
        started = today.replace(hour=11, minute=1, second=30, microsecond=0)
        if started > today:
            started -= timedelta(days=1)
        status = {
            "players": 23_456,
            "server_version": "3012345",
            "start_time": f"{started:%Y-%m-%dT%H:%M:%SZ}",
            "vip": False,
        }
        headers = _JSON | {"Cache-Control": "public, max-age=30"}
        return web.Response(body=msgspec.json.encode(status), headers=headers)

    def _meta_answer(self, _: web.Request) -> web.Response:
        state = "Down" if self._playback.faults.tranquility_down else "OK"
        routes = [
            {"method": "GET", "path": "/killmails/{killmail_id}/{killmail_hash}", "status": state},
            {"method": "POST", "path": "/universe/names", "status": state},
            {"method": "GET", "path": "/status", "status": state},
            {"method": "GET", "path": "/meta/status", "status": "OK"},
        ]
        return web.Response(body=msgspec.json.encode({"routes": routes}), headers=_JSON)

    def _killmail_buckets(self) -> list[FloatingWindow]:
        return [bucket for (group, _), bucket in self._buckets.items() if group == "killmail"]


def _check_compatibility_date(request: web.Request, now_s: float) -> web.Response | None:
    """Refuse a date that isn't one, or lies ahead of the API's day, which turns at 11:00 UTC."""
    by_query = request.query.get("compatibility_date")
    given = request.headers.get("X-Compatibility-Date", by_query)
    if given is None:
        return None
    try:
        asked = datetime.strptime(given, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return _error(400, "Invalid X-Compatibility-Date: must be YYYY-MM-DD")
    if asked > datetime.fromtimestamp(now_s, UTC) - timedelta(hours=11):
        return _error(400, "Invalid X-Compatibility-Date: lies in the future")
    return None


def _unchanged(request: web.Request, etag: str, last_modified: str) -> bool:
    known = request.headers.get("If-None-Match")
    if known is not None:
        tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
        return etag in tags or "*" in tags
    return request.headers.get("If-Modified-Since") == last_modified


def _window(window_s: float) -> str:
    return f"{window_s / 60:g}m"


def _add_error_headers(answer: web.Response, errors: ErrorBudget, now_s: float) -> None:
    answer.headers["X-ESI-Error-Limit-Remain"] = str(errors.remaining(now_s))
    answer.headers["X-ESI-Error-Limit-Reset"] = str(errors.reset_s(now_s))


def _error(status: int, message: str) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode({"error": message}), headers=_JSON)


_JSON: Final = {"Content-Type": "application/json"}
