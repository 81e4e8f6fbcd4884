"""The rate limit budget of ESI, shared by all processes, and the pauses that ESI asked for.

ESI counts in a sliding window: tokens spent at T are returned at T + window, by its clock. We never
return one early: a request reserves its highest possible cost and is charged its actual cost when
the response arrives, and the window starts then. The reservation of a process that died expires.
Other programs may share our address: when ESI reports fewer tokens left than we count, the
difference is counted as spent now. A budget without a response for one window (at the first start,
or after Redis lost its data) sends one request alone and waits for its response.

A public route's budget is one per address; an authenticated route's is one per owner, the character
whose token is sent. The requests for killmails have classes: a lower one leaves a share of the
tokens to those above.

The budget is stored in Redis (`actors.esi.redis_budget`), or in the process where no Redis is
configured (`actors.esi.local_budget`).

Source: ESI's documentation of rate limiting (read 2026-11-21).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple, Protocol

from actors.shared.errors import RetryLater
from actors.shared.settings import Settings

KILLMAIL: Final = "killmail"
CHAR_KILLMAIL: Final = "char-killmail"
CORP_KILLMAIL: Final = "corp-killmail"
CHAR_DETAIL: Final = "char-detail"
STATUS: Final = "status"
BUCKETLESS: Final = "bucketless"
"""Routes without a token bucket; ESI limits their errors instead."""
GROUPS: Final = (KILLMAIL, CHAR_KILLMAIL, CORP_KILLMAIL, CHAR_DETAIL, STATUS, BUCKETLESS)
"""The groups of all requests."""
NOTHING: Final = "nothing"
"""Costs nothing; reserving it only checks for a pause of all routes."""

OWNER_TOKENS: Final = {CHAR_KILLMAIL: 30, CORP_KILLMAIL: 30, CHAR_DETAIL: 600}
"""Tokens per window of the authenticated groups, for each owner."""

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


class BudgetClass(IntEnum):
    """What a request is for. Each class leaves a fifth of the tokens to those above it."""

    LIVE = 0
    FIRST_SYNC = 1
    SYNC = 2
    IMPORT = 3
    """Imports and repairs."""


SHARES: Final = 5
"""Into how many shares the tokens are divided; each class takes one less than the one above."""


class Paused(RetryLater):
    """Requests of `scope` are paused for `delay_ms`."""

    def __init__(self, message: str, *, delay_ms: int, scope: str) -> None:
        super().__init__(message, delay_ms=delay_ms)
        self.scope = scope


class Spent(RetryLater):
    """The tokens of a bucket are spent; some are returned after `delay_ms`."""

    def __init__(self, bucket: str, wait_ms: float) -> None:
        super().__init__(f"ESI's {bucket} budget is spent", delay_ms=int(wait_ms) + 1)


class Reservation(NamedTuple):
    """Tokens reserved for one request."""

    group: str
    id: str
    tokens: int
    owner: int | None = None

    @property
    def bucket(self) -> str:
        """Return the name of the bucket."""
        return bucket_of(self.group, self.owner)


@dataclass(frozen=True)
class Terms:
    """Tokens per window and bucket, by group. A group that isn't listed has no limit."""

    tokens: Mapping[str, int]
    window_ms: int
    answer_ms: int = ANSWER_MS

    def reserved(self, group: str) -> int:
        """Return the tokens to reserve for one request; 0 without a limit."""
        return min(MAX_TOKENS, self.tokens.get(group, 0))

    def limit(self, group: str, class_: BudgetClass = BudgetClass.LIVE) -> int:
        """Return how many tokens of a bucket may be spent after a request of this class.

        At least one request's, so that a budget of a few tokens still serves each class.
        """
        share = self.tokens.get(group, 0) * (SHARES - class_) // SHARES
        return max(share, self.reserved(group))

    @property
    def spent_ms(self) -> int:
        """Return how long tokens stay spent."""
        return self.window_ms + DRIFT_MS

    @property
    def held_ms(self) -> int:
        """Return how long tokens of a request whose end is unknown stay spent."""
        return self.spent_ms + self.answer_ms


class Budget(Protocol):
    """The interface of both budgets."""

    async def reserve(
        self, group: str, owner: int | None = None, class_: BudgetClass = BudgetClass.LIVE
    ) -> Reservation:
        """Reserve tokens for one request. Each reservation must be charged.

        Args:
            group: the rate limit group.
            owner: the character whose bucket it is, on an authenticated route.
            class_: which share of the tokens it may use.

        Raises:
            Paused: ESI asked for a pause of this bucket, its group or of everything.
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
        """Pause a bucket, a group, `ALL` or `TRANQUILITY`. Never shortens a pause.

        Returns:
            True when a pause starts, False when one is in progress.
        """
        ...


def terms_of(settings: Settings) -> Terms:
    """Return ESI's terms, as the settings change them."""
    tokens = {KILLMAIL: settings.esi_killmail_tokens, **OWNER_TOKENS}
    return Terms(tokens, settings.esi_window_s * 1000)


def bucket_of(group: str, owner: int | None) -> str:
    """Name a bucket; also the scope of its pauses."""
    return group if owner is None else f"{group}/{owner}"


def scopes_of(group: str, owner: int | None = None) -> tuple[str, ...]:
    """List the pause scopes that apply to a bucket."""
    own = (group,) if owner is None else (bucket_of(group, owner), group)
    return (*own, ALL) if group == STATUS else (*own, ALL, TRANQUILITY)
