"""The rate limit budget of ESI, shared by all processes, and the pauses that ESI asked for.

ESI counts in a sliding window: tokens spent at T are returned at T + window, by its clock. We never
return one early: a request reserves its highest possible cost and is charged its actual cost when
the response arrives, and the window starts then. The reservation of a process that died expires.
Other programs may share our address: when ESI reports fewer tokens left than we count, the
difference is counted as spent now. A budget without a response for one window (at the first start,
or after Redis lost its data) sends one request alone and waits for its response.

The budget is stored in Redis, or in the process where no Redis is configured.

Source: ESI's documentation of rate limiting (read 2026-11-21).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit
from uuid import uuid4

from redis.asyncio import Redis
from redis.exceptions import RedisError

from actors.esi.budget_scripts import CHARGE, PAUSE, RESERVE
from actors.shared.errors import RetryLater
from actors.shared.outage import Outage
from actors.shared.settings import Settings

KILLMAIL: Final = "killmail"
STATUS: Final = "status"
BUCKETLESS: Final = "bucketless"
"""Routes without a token bucket; ESI limits their errors instead."""
NOTHING: Final = "nothing"
"""Costs nothing; reserving it only checks for a pause of all routes."""

ALL: Final = "all"
"""Scope of a pause of all routes."""
TRANQUILITY: Final = "tranquility"
"""Scope of a pause of all routes but `/status`, while the game server is down."""

MAX_TOKENS: Final = 5
"""Highest cost of one request: a 4xx response."""
SUCCESS_TOKENS: Final = 2
"""Cost of a 2xx response."""
SOON_MS: Final = 100
"""Wait for responses in flight, which will report the remaining tokens."""
ANSWER_MS: Final = 30_000
"""Time after which a request has certainly ended; longer than the client's timeout."""
DRIFT_MS: Final = 100
"""Allowed drift between ESI's clock and ours in one window."""
REDIS_TIMEOUT_S: Final = 3.0
REDIS_UNAVAILABLE_MS: Final = 5_000
REDIS_ERRORS: Final = (RedisError, OSError, TimeoutError)


class Paused(RetryLater):
    """Requests of `scope` are paused for `delay_ms`."""

    def __init__(self, message: str, *, delay_ms: int, scope: str) -> None:
        super().__init__(message, delay_ms=delay_ms)
        self.scope = scope


class Spent(RetryLater):
    """The tokens of a group are spent; some are returned after `delay_ms`."""


class Reservation(NamedTuple):
    """Tokens reserved for one request."""

    group: str
    id: str
    tokens: int


@dataclass(frozen=True)
class Terms:
    """Tokens per window by group. A group that isn't listed has no limit."""

    tokens: Mapping[str, int]
    window_ms: int

    def reserved(self, group: str) -> int:
        """Return the tokens to reserve for one request; 0 without a limit."""
        return min(MAX_TOKENS, self.tokens.get(group, 0))


class Budget(Protocol):
    """The interface of both budgets."""

    async def reserve(self, group: str) -> Reservation:
        """Reserve tokens for one request. Each reservation must be charged.

        Raises:
            Paused: ESI asked for a pause of this group or of everything.
            Spent: the tokens are spent.
            RetryLater: Redis is unavailable.
        """
        ...

    async def charge(
        self, reservation: Reservation, tokens: int | None, remaining: int | None = None
    ) -> None:
        """Charge the cost of a request after its response.

        Args:
            reservation: the return value of `reserve`.
            tokens: the cost; None when there was no response, so that it is unknown.
            remaining: the tokens left, as ESI reports them.
        """
        ...

    async def pause(self, scope: str, duration_ms: int, reason: str) -> bool:
        """Pause a group, `ALL` or `TRANQUILITY`. Never shortens a pause.

        Returns:
            True when a pause starts, False when one is in progress.
        """
        ...


def open_budget(settings: Settings, redis: Redis | None) -> Budget:
    """Open the budget that the settings select."""
    terms = Terms({KILLMAIL: settings.esi_killmail_tokens}, settings.esi_window_s * 1000)
    if redis is None:
        return LocalBudget(terms)
    return RedisBudget(terms, redis, settings.named(urlsplit(settings.esi_url).netloc))


def scopes_of(group: str) -> tuple[str, ...]:
    """List the pause scopes that apply to a group."""
    return (group, ALL) if group == STATUS else (group, ALL, TRANQUILITY)


@dataclass
class _Entry:
    tokens: int
    returned_at_ms: float
    in_flight: bool = False


@dataclass
class _Group:
    entries: dict[str, _Entry] = field(default_factory=dict)
    known_until_ms: float = 0.0

    def expire(self, now_ms: float) -> None:
        for id_ in [id_ for id_, entry in self.entries.items() if entry.returned_at_ms <= now_ms]:
            del self.entries[id_]

    def wait_ms(self, now_ms: float, tokens: int, limit: int) -> float:
        """Return how long until this many tokens are available."""
        missing = sum(entry.tokens for entry in self.entries.values()) + tokens - limit
        in_flight = any(entry.in_flight for entry in self.entries.values())
        if in_flight and (missing > 0 or self.known_until_ms <= now_ms):
            return SOON_MS
        if missing <= 0:
            return 0
        for entry in sorted(self.entries.values(), key=lambda entry: entry.returned_at_ms):
            missing -= entry.tokens
            if missing <= 0:
                return entry.returned_at_ms - now_ms
        raise AssertionError("a reservation never exceeds the limit")


class LocalBudget:
    """The budget of one process, on one event loop; kept in memory."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._groups: dict[str, _Group] = {}
        self._pauses: dict[str, tuple[float, str]] = {}

    async def reserve(self, group: str) -> Reservation:
        """Reserve tokens for one request."""
        now_ms = _now_ms()
        self._raise_paused(group, now_ms)
        tokens = self._terms.reserved(group)
        reservation = Reservation(group, uuid4().hex, tokens)
        if tokens:
            state = self._groups.setdefault(group, _Group())
            state.expire(now_ms)
            wait_ms = state.wait_ms(now_ms, tokens, self._terms.tokens[group])
            if wait_ms:
                raise _spent(group, wait_ms)
            returned_at_ms = now_ms + ANSWER_MS + self._terms.window_ms + DRIFT_MS
            state.entries[reservation.id] = _Entry(tokens, returned_at_ms, in_flight=True)
        return reservation

    async def charge(
        self, reservation: Reservation, tokens: int | None, remaining: int | None = None
    ) -> None:
        """Charge the cost of a request."""
        if not reservation.tokens:
            return
        now_ms = _now_ms()
        window_ms = self._terms.window_ms + DRIFT_MS
        state = self._groups[reservation.group]
        state.expire(now_ms)
        if tokens is None:
            tokens, window_ms = reservation.tokens, window_ms + ANSWER_MS
        known = state.entries.pop(reservation.id, None) is not None
        state.entries[reservation.id] = _Entry(tokens, now_ms + window_ms)
        if remaining is None:
            return
        if known:
            state.known_until_ms = now_ms + window_ms
        ours = sum(SUCCESS_TOKENS if e.in_flight else e.tokens for e in state.entries.values())
        others = self._terms.tokens[reservation.group] - ours - remaining
        if others > 0:
            state.entries[f"{reservation.id}:others"] = _Entry(others, now_ms + window_ms)

    async def pause(self, scope: str, duration_ms: int, reason: str) -> bool:
        """Pause a scope."""
        now_ms = _now_ms()
        until_ms, _ = self._pauses.get(scope, (0.0, ""))
        if now_ms + duration_ms > until_ms:
            self._pauses[scope] = (now_ms + duration_ms, reason)
        return until_ms <= now_ms

    def _raise_paused(self, group: str, now_ms: float) -> None:
        pauses = [(*self._pauses.get(scope, (0.0, "")), scope) for scope in scopes_of(group)]
        until_ms, reason, scope = max(pauses)
        if until_ms > now_ms:
            raise Paused(reason, delay_ms=int(until_ms - now_ms) + 1, scope=scope)


class RedisBudget:
    """The budget of all processes that share a Redis; by its clock, one script per operation.

    While Redis is unavailable nothing may be sent, as the remaining tokens are unknown.
    """

    def __init__(self, terms: Terms, redis: Redis, name: str) -> None:
        self._terms = terms
        self._prefix = f"{{killstream:esi:{name}}}"
        self._outage = Outage("ESI's budget in Redis")
        self._reserve = redis.register_script(RESERVE)
        self._charge = redis.register_script(CHARGE)
        self._pause = redis.register_script(PAUSE)

    async def reserve(self, group: str) -> Reservation:
        """Reserve tokens for one request."""
        tokens = self._terms.reserved(group)
        reservation = Reservation(group, uuid4().hex, tokens)
        scopes = scopes_of(group)
        keys = [*self._keys(group), *(self._pause_key(scope) for scope in scopes)]
        hold_ms = ANSWER_MS + self._terms.window_ms + DRIFT_MS
        limit = self._terms.tokens.get(group, 0)
        try:
            wait_ms, paused, reason = await self._run(
                self._reserve, keys, [reservation.id, tokens, limit, hold_ms, SOON_MS]
            )
        except REDIS_ERRORS as error:
            raise RetryLater(
                f"no budget without Redis: {error!r}", delay_ms=REDIS_UNAVAILABLE_MS
            ) from error
        if paused:
            raise Paused(reason.decode(), delay_ms=wait_ms, scope=scopes[paused - 1])
        if wait_ms:
            raise _spent(group, wait_ms)
        return reservation

    async def charge(
        self, reservation: Reservation, tokens: int | None, remaining: int | None = None
    ) -> None:
        """Charge the cost; while Redis is unavailable the reservation counts instead."""
        group, id_, reserved = reservation
        if not reserved:
            return
        window_ms = self._terms.window_ms + DRIFT_MS
        if tokens is None:
            tokens, window_ms = reserved, window_ms + ANSWER_MS
        left = -1 if remaining is None else remaining
        limit = self._terms.tokens[group]
        arguments = [id_, reserved, tokens, limit, window_ms, left, SUCCESS_TOKENS]
        with suppress(*REDIS_ERRORS):
            await self._run(self._charge, self._keys(group), arguments)

    async def pause(self, scope: str, duration_ms: int, reason: str) -> bool:
        """Pause a scope; while Redis is unavailable nothing is sent anyway."""
        try:
            begins = await self._run(self._pause, [self._pause_key(scope)], [duration_ms, reason])
        except REDIS_ERRORS:
            return True
        return bool(begins)

    async def _run(
        self, script: Callable[..., Awaitable[Any]], keys: Iterable[str], arguments: Iterable[Any]
    ) -> Any:
        """Run a script within a time limit; log when Redis becomes unavailable and available."""
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_S):
                result = await script(keys=list(keys), args=list(arguments))
        except REDIS_ERRORS as error:
            self._outage.failed(error)
            raise
        self._outage.worked()
        return result

    def _keys(self, group: str) -> list[str]:
        return [f"{self._prefix}:{group}:spent", f"{self._prefix}:{group}:known"]

    def _pause_key(self, scope: str) -> str:
        return f"{self._prefix}:pause:{scope}"


def _spent(group: str, wait_ms: float) -> Spent:
    return Spent(f"ESI's {group} budget is spent", delay_ms=int(wait_ms) + 1)


def _now_ms() -> float:
    return time.monotonic() * 1000
