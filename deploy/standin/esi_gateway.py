"""ESI's gateway: what every route passes, from the compatibility date to the two limiters.

Source: ESI's documentation on rate limits, errors and versions (read 2026-11-21).
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import web

from deploy.standin.limits import ErrorBudget, FloatingWindow
from deploy.standin.playback import Playback
from deploy.standin.sso.grants import Bearer

TOKENS_BY_STATUS: Final = {2: 2, 3: 1, 4: 5, 5: 0}
"""Cost of an answer by the hundreds of its status; 429 costs nothing."""

PREFIXES: Final = ("", "/latest", "/v1")
"""Paths have no version any more; the old prefixes still answer."""

JSON: Final = {"Content-Type": "application/json"}
_DOWN: Final = b'{"error":"Timeout contacting tranquility","timeout":10}'
_ERROR_LIMITED: Final = (
    "This software has exceeded the error limit for ESI. If you are a user, please contact the "
    "maintainer of this software. If you are a developer/maintainer, please make a greater effort "
    "in the future to receive valid responses."
)
_FAILURES: Final = {500: "Internal server error", 502: "Bad gateway", 503: "Service unavailable"}


class Group(NamedTuple):
    """A rate limit group of ESI's: a bucket for each owner."""

    name: str
    tokens: int
    window_s: float


class Route(NamedTuple):
    """What the gateway knows of a route. Without a group its errors count instead."""

    endpoint: str
    group: Group | None
    compatibility_date: str = "2020-01-01"
    scope: str | None = None
    """The scope that a token needs; None for a public route."""
    down_status: int | None = 504
    """The answer while Tranquility is down; None goes on as ever."""


Handler = Callable[[web.Request], web.Response]
BearerHandler = Callable[[web.Request, Bearer], web.Response]


class EsiGateway:
    """Refuses, fails and charges requests; what is left goes to the route's handler."""

    def __init__(self, playback: Playback) -> None:
        self._playback = playback
        self._random = Random(playback.options.seed)
        self._buckets: defaultdict[Group, dict[str, FloatingWindow]] = defaultdict(dict)
        self._errors: dict[str | None, ErrorBudget] = {}

    async def answer(self, request: web.Request, route: Route, handle: Handler) -> web.Response:
        """Answer a request of a public route.

        Its bucket belongs to the source address, with a token to address and application.
        """
        bearer = self._playback.grants.bearer(request, self._playback.now_s())
        owner = str(request.remote) + (f":{bearer.application_id}" if bearer else "")
        return await self._answer(request, route, handle, owner)

    async def answer_bearer(
        self, request: web.Request, route: Route, handle: BearerHandler
    ) -> web.Response:
        """Answer a request of a route that needs a token.

        Its bucket belongs to application and character, without a token to the address.
        """
        bearer = self._playback.grants.bearer(request, self._playback.now_s())
        if bearer is None:
            return await self._answer(request, route, self._no_token, str(request.remote))
        known = bearer

        def handle_bearer(request: web.Request) -> web.Response:
            return _refuse_bearer(request, route, known) or handle(request, known)

        owner = f"{bearer.application_id}:{bearer.character_id}"
        return await self._answer(request, route, handle_bearer, owner)

    def tokens_used(self, group: str) -> int:
        """Tokens of a group that are spent now, by its busiest owner."""
        now_s = self._playback.now_s()
        return max((bucket.used(now_s) for bucket in self._buckets_of(group)), default=0)

    def tokens_highest(self, group: str) -> int:
        """The most tokens of a group that one owner ever spent within one window."""
        return max((bucket.highest_used for bucket in self._buckets_of(group)), default=0)

    def buckets(self) -> dict[str, Any]:
        """Tell how full the buckets of each group ever were.

        Shape: {"char-killmail": {"tokens": 30, "highest": 8, "refused": 0,
        "owners": {"application:2112000000": 8}}}; `highest` and each owner's number are the most
        tokens that were ever spent within one window.
        """
        return {
            group.name: {
                "tokens": group.tokens,
                "highest": self.tokens_highest(group.name),
                "refused": self._playback.stats.refused[group.name],
                "owners": {owner: bucket.highest_used for owner, bucket in sorted(owners.items())},
            }
            for group, owners in sorted(self._buckets.items())
        }

    def hits(self, rate: float) -> bool:
        """Roll the dice for a fault of this rate."""
        return rate > 0 and self._random.random() < rate

    async def _answer(
        self, request: web.Request, route: Route, handle: Handler, owner: str
    ) -> web.Response:
        now_s = self._playback.now_s()
        limits = self._playback.faults.limits
        errors = self._errors.setdefault(
            request.remote, ErrorBudget(self._playback.options.esi_errors)
        )
        if limits and errors.remaining(now_s) == 0:
            self._playback.stats.refused["esi_errors"] += 1
            answer = error(420, _ERROR_LIMITED)
            _add_error_headers(answer, errors, now_s)
        else:
            answer = self._injected_failure(request, route) or handle(request)
            answer.headers["X-Compatibility-Date"] = route.compatibility_date
            if route.group:
                answer = self._charge(route.group, owner, answer, now_s)
            else:
                self._count_error(answer, errors, now_s)
        self._playback.stats.requests["esi", route.endpoint, answer.status] += 1
        if self._playback.faults.esi_latency_ms:
            await asyncio.sleep(self._playback.faults.esi_latency_ms / 1000)
        return answer

    def _charge(self, group: Group, owner: str, answer: web.Response, now_s: float) -> web.Response:
        bucket = self._buckets[group].get(owner)
        if bucket is None:
            bucket = self._buckets[group][owner] = FloatingWindow(group.tokens, group.window_s)
        limits = self._playback.faults.limits
        cost = TOKENS_BY_STATUS[answer.status // 100]
        if not bucket.spend(now_s, cost, enforce=limits):
            self._playback.stats.refused[group.name] += 1
            answer = error(429, "Rate limit exceeded")
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
        if faults.tranquility_down and route.down_status is not None:
            self._playback.stats.faults["tranquility_down"] += 1
            return web.Response(status=route.down_status, body=_DOWN, headers=JSON)
        failing = self._playback.count_down("esi_fail_next")
        if not failing and not self.hits(faults.esi_error_rate):
            return None
        self._playback.stats.faults["esi_error"] += 1
        status = faults.esi_error_status
        return error(status, _FAILURES.get(status, "Timeout contacting tranquility"))

    def _no_token(self, request: web.Request) -> web.Response:
        """Refuse a request without a token that is good now.

        Without any token 401; with one that is expired, revoked or none of the SSO's 403 with
        the text that ESI is known for. The switch `esi_token_status` overrides both.
        """
        status = self._playback.faults.esi_token_status
        if "Authorization" not in request.headers:
            return error(status or 401, "Unauthorized")
        body = {"error": "unexpected end of JSON input", "sso_status": 401}
        return web.Response(status=status or 403, body=msgspec.json.encode(body), headers=JSON)

    def _buckets_of(self, name: str) -> list[FloatingWindow]:
        return [
            bucket
            for group, owners in self._buckets.items()
            for bucket in owners.values()
            if group.name == name
        ]


def each_spelling(
    *paths: tuple[Callable[..., web.RouteDef], str, Any],
) -> list[web.RouteDef]:
    """List routes under each old prefix, with and without a slash at the end."""
    return [
        verb(prefix + path + slash, handler)
        for prefix in PREFIXES
        for verb, path, handler in paths
        for slash in ("", "/")
    ]


def error(status: int, message: str) -> web.Response:
    """Answer an error in ESI's shape."""
    return web.Response(status=status, body=msgspec.json.encode({"error": message}), headers=JSON)


def path_id(request: web.Request, name: str) -> int | None:
    """Read an id of the path; None when it isn't a number that fits 64 bits."""
    given = request.match_info[name]
    fits = given.isascii() and given.isdigit() and len(given) < 19
    return int(given) if fits else None


def _refuse_bearer(request: web.Request, route: Route, bearer: Bearer) -> web.Response | None:
    if route.scope not in bearer.scopes:
        return error(403, f"token is not valid for scope: {route.scope}")
    asked = request.match_info.get("character_id", str(bearer.character_id))
    if asked != str(bearer.character_id):
        return error(403, "token's character does not match the character in the path")
    return None


def _check_compatibility_date(request: web.Request, now_s: float) -> web.Response | None:
    """Refuse a date that isn't one, or lies ahead of the API's day, which turns at 11:00 UTC."""
    by_query = request.query.get("compatibility_date")
    given = request.headers.get("X-Compatibility-Date", by_query)
    if given is None:
        return None
    try:
        asked = datetime.strptime(given, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return error(400, "Invalid X-Compatibility-Date: must be YYYY-MM-DD")
    if asked > datetime.fromtimestamp(now_s, UTC) - timedelta(hours=11):
        return error(400, "Invalid X-Compatibility-Date: lies in the future")
    return None


def _window(window_s: float) -> str:
    return f"{window_s / 60:g}m"


def _add_error_headers(answer: web.Response, errors: ErrorBudget, now_s: float) -> None:
    answer.headers["X-ESI-Error-Limit-Remain"] = str(errors.remaining(now_s))
    answer.headers["X-ESI-Error-Limit-Reset"] = str(errors.reset_s(now_s))
