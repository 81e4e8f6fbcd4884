"""The budget of ESI in Redis, shared by all processes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

from redis.asyncio import Redis
from redis.exceptions import RedisError

from actors.esi.budget import (
    SOON_MS,
    SUCCESS_TOKENS,
    Budget,
    BudgetClass,
    Paused,
    Reservation,
    Spent,
    Terms,
    scopes_of,
    terms_of,
)
from actors.esi.budget_scripts import CHARGE, PAUSE, RESERVE
from actors.esi.local_budget import LocalBudget
from actors.shared.errors import RetryLater
from actors.shared.outage import Outage
from actors.shared.settings import Settings

REDIS_TIMEOUT_S: Final = 3.0
REDIS_UNAVAILABLE_MS: Final = 5_000
REDIS_ERRORS: Final = (RedisError, OSError, TimeoutError)


def open_budget(settings: Settings, redis: Redis | None) -> Budget:
    """Open the budget that the settings select: in this Redis, or without one in this process."""
    terms = terms_of(settings)
    if redis is None:
        return LocalBudget(terms)
    return RedisBudget(terms, redis, settings.named(urlsplit(settings.esi_url).netloc))


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

    async def reserve(
        self, group: str, owner: int | None = None, class_: BudgetClass = BudgetClass.LIVE
    ) -> Reservation:
        """Reserve tokens for one request."""
        terms = self._terms
        tokens = terms.reserved(group)
        reservation = Reservation(group, uuid4().hex, tokens, owner)
        scopes = scopes_of(group, owner)
        keys = [*self._keys(reservation.bucket), *(self._pause_key(scope) for scope in scopes)]
        limit = terms.limit(group, class_)
        arguments = [reservation.id, tokens, limit, terms.held_ms, SOON_MS, SUCCESS_TOKENS]
        try:
            wait_ms, paused, reason = await self._run(self._reserve, keys, arguments)
        except REDIS_ERRORS as error:
            raise RetryLater(
                f"no budget without Redis: {error!r}", delay_ms=REDIS_UNAVAILABLE_MS
            ) from error
        if paused:
            raise Paused(reason.decode(), delay_ms=wait_ms, scope=scopes[paused - 1])
        if wait_ms:
            raise Spent(reservation.bucket, wait_ms)
        return reservation

    async def charge(
        self, reservation: Reservation, tokens: int | None, remaining: int | None = None
    ) -> None:
        """Charge the cost; while Redis is unavailable the reservation counts instead."""
        reserved = reservation.tokens
        if not reserved:
            return
        spent_ms = self._terms.spent_ms
        if tokens is None:
            tokens, spent_ms = reserved, self._terms.held_ms
        left = -1 if remaining is None else remaining
        limit = self._terms.tokens[reservation.group]
        arguments = [reservation.id, reserved, tokens, limit, spent_ms, left, SUCCESS_TOKENS]
        with suppress(*REDIS_ERRORS):
            await self._run(self._charge, self._keys(reservation.bucket), arguments)

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

    def _keys(self, bucket: str) -> list[str]:
        return [f"{self._prefix}:{bucket}:spent", f"{self._prefix}:{bucket}:known"]

    def _pause_key(self, scope: str) -> str:
        return f"{self._prefix}:pause:{scope}"
