"""What a source gives: steps along its feed. No I/O."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal, Protocol

from msgspec.structs import replace as with_fields

from actors.shared.errors import KillstreamError
from actors.shared.reference import Reference

MAX_REJECTED_BYTES: Final = 1024 * 1024
"""Most of a refused value that is recorded; only what was refused for its size is longer."""

UNALLOTTED: Final = 0
"""The position of what a source that gives once has given, until the ledger allots one."""

Kind = Literal["received", "hole", "object"]
"""Of a ledger entry: a killmail was read there; no readable file was; an object is to be read."""


class UpstreamRetired(KillstreamError):
    """The upstream is gone for good: say which setting leads to its successor, then stop."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that came from a position and is no killmail, with the reason."""

    source: str
    position: int
    reason: str
    value: bytes


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """A position that was read, or should have been, and isn't durable."""

    position: int
    kind: Kind
    reference: bytes | None
    """What was given, where the upstream gives it only once."""
    killmail_id: int | None
    killmail_hash: str | None
    object_id: str | None
    tries: int
    """How often it was read or sent again before."""
    received_at: datetime
    """When it was recorded; of a killmail that came late, when it came."""
    next_try_at: datetime


@dataclass(frozen=True, slots=True)
class Pending:
    """A position to be read again after a while: the ledger holds it meanwhile."""

    position: int
    delay_s: float


@dataclass(frozen=True, slots=True)
class Gap:
    """Positions that are passed over for good, both ends included."""

    first: int
    last: int
    reason: Literal["absent", "expired"]


@dataclass(frozen=True, slots=True)
class Step:
    """What one request gave, and how far the feed is read with it.

    References and refusals may lie behind the cursor: those of late, rewritten and recalled
    positions do.
    """

    cursor: int | None = None
    """The last position that was passed; None where the walk stands still or the ledger allots."""
    references: tuple[Reference, ...] = ()
    refused: tuple[Refused, ...] = ()
    objects: tuple[str, ...] = ()
    """Ids of objects that are still to be fetched; only of sources that give once."""
    object_positions: tuple[int, ...] = ()
    """Where the ledger recorded them."""
    pending: tuple[Pending, ...] = ()
    acked: tuple[int, ...] = ()
    """Positions in the ledger that hold no killmail, by design of the upstream."""
    gaps: tuple[Gap, ...] = ()
    reset: bool = False
    """The feed's numbers start anew: the cursor may go back."""
    passed: str = ""
    """Why a position gave nothing: hole, placeholder, expired, …"""

    @property
    def quiet(self) -> bool:
        """Whether nothing happened; such steps let the reader stop in between."""
        return self == Step(self.cursor)

    @property
    def unallotted(self) -> int:
        """How many positions the ledger has to allot."""
        given = [one.position for one in self.references] + [one.position for one in self.refused]
        return len(self.objects) + given.count(UNALLOTTED)

    def allotted(self, positions: Iterator[int]) -> "Step":
        """Return the step with positions for all that has none; the last becomes the cursor."""
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
    """What it gave is gone there: it must be in the ledger before the next is asked for.

    Its positions are allotted by the ledger: references and refusals that `steps` gives have
    UNALLOTTED, those of `read_again` have their entry's position.
    """

    @property
    def tip(self) -> int | None:
        """The newest position that the upstream is known to have."""

    @property
    def answered_at(self) -> datetime | None:
        """When the upstream gave the last answer of use."""

    def steps(self, cursor: int | None, updated_at: datetime) -> AsyncGenerator[Step, None]:
        """Walk the feed from behind a cursor (None: from its tip), for ever.

        Waits out what is temporary. `updated_at` is when the cursor moved last.

        Raises:
            Misconfigured: the upstream refuses our settings for good.
            UpstreamRetired: the upstream is gone.
        """

    def read_again(self, entries: Sequence[LedgerEntry]) -> AsyncGenerator[Step, None]:
        """Read positions that the ledger holds, each once; runs beside `steps`.

        Gets entries whose time has come and that hold no reference. What gives no step stays in
        the ledger for its next time.
        """
