"""What ESI still lets us send: one budget for all processes, and the pauses it asked for.

ESI counts in a floating window: tokens spent at T are back at T + window, by its clock. We never
count one back early: a request is reserved at the most it may cost, charged at what it did cost
when the answer is here, and the window begins then. A reservation whose process died runs out by
itself. Others may share our address, so when ESI says that less is left than we think, the
difference counts as spent now. A budget that has heard nothing for a window (a first start, a
Redis that forgot) sends one request alone and listens before it sends more.

The budget is shared through Redis, or stands in this process where there is no Redis.

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
"""Routes without a bucket: their errors are counted instead."""
NOTHING: Final = "nothing"
"""Sends nothing; reserving it shows whether everything is paused."""

ALL: Final = "all"
"""The pause of every route."""
TRANQUILITY: Final = "tranquility"
"""The pause while the game server is down: of every route but `/status`."""

MOST_TOKENS: Final = 5
"""The most that one request costs: an answer 4xx."""
USUAL_TOKENS: Final = 2
"""The cost of an answer 2xx."""
SOON_MS: Final = 100
"""The wait when answers that are under way will tell more."""
ANSWER_MS: Final = 30_000
"""By when a request is surely over; longer than the client's timeout."""
DRIFT_MS: Final = 100
"""How far ESI's clock and ours may drift apart in one window."""
REDIS_TIMEOUT_S: Final = 3.0
REDIS_UNAVAILABLE_MS: Final = 5_000
REDIS_ERRORS: Final = (RedisError, OSError, TimeoutError)


class Paused(RetryLater):
    """Nothing may be sent for `delay_ms`; `scope` says what is paused."""

    def __init__(self, message: str, *, delay_ms: int, scope: str) -> None:
        super().__init__(message, delay_ms=delay_ms)
        self.scope = scope


class Spent(RetryLater):
    """The tokens of a group are spent; some come back after `delay_ms`."""


class Reservation(NamedTuple):
    """Tokens set aside for one request."""

    group: str
    id: str
    tokens: int


@dataclass(frozen=True)
class Terms:
    """What a budget holds: tokens per window by group. A group not named has no limit."""

    tokens: Mapping[str, int]
    window_ms: int

    def most(self, group: str) -> int:
        """Give the tokens to reserve for one request; 0 without a limit."""
        return min(MOST_TOKENS, self.tokens.get(group, 0))


class Budget(Protocol):
    """What both budgets do."""

    async def reserve(self, group: str) -> Reservation:
        """Set tokens aside for one request. Each reservation must be charged.

        Raises:
            Paused: ESI asked for a pause of this group or of everything.
            Spent: the tokens are spent.
            RetryLater: Redis can't be asked.
        """
        ...

    async def charge(
        self, reservation: Reservation, tokens: int | None, remaining: int | None = None
    ) -> None:
        """Charge what the request has cost, when its answer is here.

        Args:
            reservation: what `reserve` gave.
            tokens: the cost; None when no answer came, so that nobody knows.
            remaining: what ESI says is left.
        """
        ...

    async def pause(self, scope: str, duration_ms: int, reason: str) -> bool:
        """Hold a group, or `ALL`, or `TRANQUILITY`, back for a time. Never shortens a pause.

        Returns:
            Whether a pause begins; False when one goes on.
        """
        ...


def open_budget(settings: Settings, redis: Redis | None) -> Budget:
    """Give the budget that the settings ask for."""
    terms = Terms({KILLMAIL: settings.esi_killmail_tokens}, settings.esi_window_s * 1000)
    if redis is None:
        return LocalBudget(terms)
    return RedisBudget(terms, redis, settings.named(urlsplit(settings.esi_url).netloc))


def scopes_of(group: str) -> tuple[str, ...]:
    """List the pauses that hold a group back."""
    return (group, ALL) if group == STATUS else (group, ALL, TRANQUILITY)


@dataclass
class _Entry:
    tokens: int
    back_at_ms: float
    under_way: bool = False


@dataclass
class _Group:
    entries: dict[str, _Entry] = field(default_factory=dict)
    known_until_ms: float = 0.0

    def forget(self, now_ms: float) -> None:
        for id_ in [id_ for id_, entry in self.entries.items() if entry.back_at_ms <= now_ms]:
            del self.entries[id_]

    def wait_ms(self, now_ms: float, tokens: int, limit: int) -> float:
        """Return how long until so many tokens are free."""
        missing = sum(entry.tokens for entry in self.entries.values()) + tokens - limit
        under_way = any(entry.under_way for entry in self.entries.values())
        if under_way and (missing > 0 or self.known_until_ms <= now_ms):
            return SOON_MS
        if missing <= 0:
            return 0
        for entry in sorted(self.entries.values(), key=lambda entry: entry.back_at_ms):
            missing -= entry.tokens
            if missing <= 0:
                return entry.back_at_ms - now_ms
        raise AssertionError("what is reserved is never above the limit")


class LocalBudget:
    """The budget of one process, on one event loop. It forgets with the process."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._groups: dict[str, _Group] = {}
        self._pauses: dict[str, tuple[float, str]] = {}

    async def reserve(self, group: str) -> Reservation:
        """Set tokens aside for one request."""
        now_ms = _now_ms()
        self._raise_paused(group, now_ms)
        tokens = self._terms.most(group)
        reservation = Reservation(group, uuid4().hex, tokens)
        if tokens:
            state = self._groups.setdefault(group, _Group())
            state.forget(now_ms)
            wait_ms = state.wait_ms(now_ms, tokens, self._terms.tokens[group])
            if wait_ms:
                raise _spent(group, wait_ms)
            back_at_ms = now_ms + ANSWER_MS + self._terms.window_ms + DRIFT_MS
            state.entries[reservation.id] = _Entry(tokens, back_at_ms, under_way=True)
        return reservation

    async def charge(
        self, reservation: Reservation, tokens: int | None, remaining: int | None = None
    ) -> None:
        """Charge what the request has cost."""
        if not reservation.tokens:
            return
        now_ms = _now_ms()
        window_ms = self._terms.window_ms + DRIFT_MS
        state = self._groups[reservation.group]
        state.forget(now_ms)
        if tokens is None:
            tokens, window_ms = reservation.tokens, window_ms + ANSWER_MS
        known = state.entries.pop(reservation.id, None) is not None
        state.entries[reservation.id] = _Entry(tokens, now_ms + window_ms)
        if remaining is None:
            return
        if known:
            state.known_until_ms = now_ms + window_ms
        ours = sum(USUAL_TOKENS if e.under_way else e.tokens for e in state.entries.values())
        others = self._terms.tokens[reservation.group] - ours - remaining
        if others > 0:
            state.entries[f"{reservation.id}:others"] = _Entry(others, now_ms + window_ms)

    async def pause(self, scope: str, duration_ms: int, reason: str) -> bool:
        """Hold a scope back."""
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
    """The budget of all processes that share a Redis; by its clock, one script a step.

    Without Redis nothing may be sent, as nobody knows what is left.
    """

    def __init__(self, terms: Terms, redis: Redis, name: str) -> None:
        self._terms = terms
        self._prefix = f"{{killstream:esi:{name}}}"
        self._outage = Outage("ESI's budget in Redis")
        self._reserve = redis.register_script(RESERVE)
        self._charge = redis.register_script(CHARGE)
        self._pause = redis.register_script(PAUSE)

    async def reserve(self, group: str) -> Reservation:
        """Set tokens aside for one request."""
        tokens = self._terms.most(group)
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
        """Charge what the request has cost; while Redis is away the reservation stands for it."""
        group, id_, reserved = reservation
        if not reserved:
            return
        window_ms = self._terms.window_ms + DRIFT_MS
        if tokens is None:
            tokens, window_ms = reserved, window_ms + ANSWER_MS
        left = -1 if remaining is None else remaining
        limit = self._terms.tokens[group]
        arguments = [id_, reserved, tokens, limit, window_ms, left, USUAL_TOKENS]
        with suppress(*REDIS_ERRORS):
            await self._run(self._charge, self._keys(group), arguments)

    async def pause(self, scope: str, duration_ms: int, reason: str) -> bool:
        """Hold a scope back; when Redis is away nothing is sent anyway."""
        try:
            begins = await self._run(self._pause, [self._pause_key(scope)], [duration_ms, reason])
        except REDIS_ERRORS:
            return True
        return bool(begins)

    async def _run(
        self, script: Callable[..., Awaitable[Any]], keys: Iterable[str], arguments: Iterable[Any]
    ) -> Any:
        """Run a script within a time limit; log when Redis goes away and when it is back."""
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
