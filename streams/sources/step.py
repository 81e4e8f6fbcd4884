"""The interface of sources, and the steps that they yield. No I/O."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal, Protocol

from msgspec.structs import replace as with_fields

from actors.shared.errors import KillstreamError
from actors.shared.reference import Reference

MAX_REJECTED_BYTES: Final = 1024 * 1024
"""Maximum recorded size of a refused value."""

UNALLOTTED: Final = 0
"""Placeholder until the ledger allots a position, for sources that give each message once."""

Kind = Literal["received", "hole", "object"]
"""Kind of a ledger entry: a killmail was read; no readable file; an object to be fetched."""


class UpstreamRetired(KillstreamError):
    """The upstream was shut down; says which setting selects its successor."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A value that is no killmail, with its position and the reason."""

    source: str
    position: int
    reason: str
    value: bytes


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """A position that was read or is absent, and isn't durable."""

    position: int
    kind: Kind
    reference: bytes | None
    """The encoded reference, where the upstream gives it only once."""
    killmail_id: int | None
    killmail_hash: str | None
    object_id: str | None
    tries: int
    """How often it was read or sent again."""
    received_at: datetime
    """When it was recorded; for a late killmail, when that arrived."""
    next_try_at: datetime


@dataclass(frozen=True, slots=True)
class Pending:
    """A position to be read again after a delay, stored in the ledger."""

    position: int
    delay_s: float


@dataclass(frozen=True, slots=True)
class Gap:
    """Positions that are skipped permanently, both ends included."""

    first: int
    last: int
    reason: Literal["absent", "expired"]


@dataclass(frozen=True, slots=True)
class Step:
    """The result of one request, and the cursor after it.

    Positions may be before the cursor: those of late, rewritten and recalled killmails are.
    """

    cursor: int | None = None
    """The last position read; None where it doesn't move or the ledger allots it."""
    references: tuple[Reference, ...] = ()
    refused: tuple[Refused, ...] = ()
    objects: tuple[str, ...] = ()
    """Ids of objects to be fetched; only of sources that give each message once."""
    object_positions: tuple[int, ...] = ()
    """Their positions in the ledger."""
    pending: tuple[Pending, ...] = ()
    acked: tuple[int, ...] = ()
    """Positions in the ledger that hold no killmail, by design of the upstream."""
    gaps: tuple[Gap, ...] = ()
    reset: bool = False
    """The upstream's numbering restarted: the cursor may go back."""
    skipped: str = ""
    """Why a position has no killmail: hole, placeholder, expired, …"""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to record; such steps let the reader check for a stop."""
        return self == Step(self.cursor)

    @property
    def unallotted(self) -> int:
        """Return how many positions the ledger must allot."""
        given = [one.position for one in self.references] + [one.position for one in self.refused]
        return len(self.objects) + given.count(UNALLOTTED)

    def allotted(self, positions: Iterator[int]) -> "Step":
        """Return the step with positions for all items; the last becomes the cursor."""
        if not self.unallotted:
            return self
        references = tuple(
            r if r.position != UNALLOTTED else with_fields(r, position=next(positions))
            for r in self.references
        )
        refused = tuple(
            r if r.position != UNALLOTTED else replace(r, position=next(positions))
            for r in self.refused
        )
        object_positions = tuple(next(positions) for _ in self.objects)
        last = max(
            [*object_positions, *(r.position for r in references), *(r.position for r in refused)]
        )
        return replace(
            self,
            cursor=last,
            references=references,
            refused=refused,
            object_positions=object_positions,
        )


class Source(Protocol):
    """One upstream feed, open."""

    name: str
    """The name under which its cursor is recorded."""
    gives_once: bool
    """Whether it gives each message once: it must be in the ledger before the next poll.

    Its positions are allotted by the ledger: references and refusals that `steps` gives have
    UNALLOTTED, those of `read_again` have their entry's position.
    """

    @property
    def tip(self) -> int | None:
        """The newest known position of the upstream."""

    @property
    def answered_at(self) -> datetime | None:
        """Time of the last usable response."""

    def steps(self, cursor: int | None, updated_at: datetime) -> AsyncGenerator[Step, None]:
        """Read the feed after a cursor (None: from its tip), without end.

        Retries temporary errors. `updated_at` is when the cursor moved last.

        Raises:
            Misconfigured: the upstream refuses our settings.
            UpstreamRetired: the upstream was shut down.
        """

    def read_again(self, entries: Sequence[LedgerEntry]) -> AsyncGenerator[Step, None]:
        """Read the positions of ledger entries, each once; runs concurrently with `steps`.

        Gets due entries without a reference. An entry without a step stays in the ledger until it
        is due again.
        """
