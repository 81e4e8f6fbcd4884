"""The budget of ESI in the memory of one process, where no Redis is configured."""

import time
from dataclasses import dataclass, field
from uuid import uuid4

from actors.esi.budget import (
    SOON_MS,
    SUCCESS_TOKENS,
    BudgetClass,
    Paused,
    Reservation,
    Spent,
    Terms,
    scopes_of,
)


@dataclass
class _Entry:
    tokens: int
    returned_at_ms: float
    in_flight: bool = False

    @property
    def likely_tokens(self) -> int:
        return SUCCESS_TOKENS if self.in_flight else self.tokens


@dataclass
class _Bucket:
    entries: dict[str, _Entry] = field(default_factory=dict)
    known_until_ms: float = 0.0

    def expire(self, now_ms: float) -> None:
        for id_ in [id_ for id_, entry in self.entries.items() if entry.returned_at_ms <= now_ms]:
            del self.entries[id_]

    def likely_tokens(self) -> int:
        return sum(entry.likely_tokens for entry in self.entries.values())

    def wait_ms(self, now_ms: float, tokens: int, limit: int) -> float:
        """Return how long until this many tokens are available."""
        missing = sum(entry.tokens for entry in self.entries.values()) + tokens - limit
        is_known = self.known_until_ms > now_ms
        if any(entry.in_flight for entry in self.entries.values()) and (
            not is_known or missing > 0 >= self.likely_tokens() + tokens - limit
        ):
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
        self._buckets: dict[str, _Bucket] = {}
        self._pauses: dict[str, tuple[float, str]] = {}

    async def reserve(
        self, group: str, owner: int | None = None, class_: BudgetClass = BudgetClass.LIVE
    ) -> Reservation:
        """Reserve tokens for one request."""
        now_ms = _now_ms()
        self._raise_paused(scopes_of(group, owner), now_ms)
        tokens = self._terms.reserved(group)
        reservation = Reservation(group, uuid4().hex, tokens, owner)
        if tokens:
            bucket = self._bucket(reservation.bucket, now_ms)
            bucket.expire(now_ms)
            wait_ms = bucket.wait_ms(now_ms, tokens, self._terms.limit(group, class_))
            if wait_ms:
                raise Spent(reservation.bucket, wait_ms)
            returned_at_ms = now_ms + self._terms.held_ms
            bucket.entries[reservation.id] = _Entry(tokens, returned_at_ms, in_flight=True)
        return reservation

    async def charge(
        self, reservation: Reservation, tokens: int | None, remaining: int | None = None
    ) -> None:
        """Charge the cost of a request."""
        if not reservation.tokens:
            return
        now_ms = _now_ms()
        spent_ms = self._terms.spent_ms
        bucket = self._bucket(reservation.bucket, now_ms)
        bucket.expire(now_ms)
        if tokens is None:
            tokens, spent_ms = reservation.tokens, self._terms.held_ms
        known = bucket.entries.pop(reservation.id, None) is not None
        bucket.entries[reservation.id] = _Entry(tokens, now_ms + spent_ms)
        if remaining is None:
            return
        if known:
            bucket.known_until_ms = now_ms + spent_ms
        others = self._terms.tokens[reservation.group] - bucket.likely_tokens() - remaining
        if others > 0:
            bucket.entries[f"{reservation.id}:others"] = _Entry(others, now_ms + spent_ms)

    async def pause(self, scope: str, duration_ms: int, reason: str) -> bool:
        """Pause a scope."""
        now_ms = _now_ms()
        self._pauses = {key: pause for key, pause in self._pauses.items() if pause[0] > now_ms}
        until_ms, _ = self._pauses.get(scope, (0.0, ""))
        if now_ms + duration_ms > until_ms:
            self._pauses[scope] = (now_ms + duration_ms, reason)
        return until_ms <= now_ms

    def _bucket(self, name: str, now_ms: float) -> _Bucket:
        """Return a bucket. A new one replaces those that nothing is known of any more."""
        bucket = self._buckets.get(name)
        if bucket is None:
            for other in self._buckets.values():
                other.expire(now_ms)
            self._buckets = {
                key: other
                for key, other in self._buckets.items()
                if other.entries or other.known_until_ms > now_ms
            }
            bucket = self._buckets[name] = _Bucket()
        return bucket

    def _raise_paused(self, scopes: tuple[str, ...], now_ms: float) -> None:
        pauses = [(*self._pauses.get(scope, (0.0, "")), scope) for scope in scopes]
        until_ms, reason, scope = max(pauses)
        if until_ms > now_ms:
            raise Paused(reason, delay_ms=int(until_ms - now_ms) + 1, scope=scope)


def _now_ms() -> float:
    return time.monotonic() * 1000
