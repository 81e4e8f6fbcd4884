"""What a source gives: steps along its feed. No I/O."""

from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from actors.shared.errors import KillstreamError
from actors.shared.reference import Reference

MAX_REJECTED_BYTES: Final = 1024 * 1024
"""Most of a refused value that is kept; only what was refused for its size is longer."""


class UpstreamRetired(KillstreamError):
    """The upstream is gone for good: say which setting leads to its successor, then stop."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that came from a place and is no killmail; kept aside with the reason."""

    source: str
    position: int
    reason: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Step:
    """What one look at the feed gave, and how far the feed is read with it.

    References and refusals may lie behind the cursor: late, rewritten and recalled places do.
    """

    cursor: int
    """The last place that was passed; reading goes on behind it."""
    references: tuple[Reference, ...] = ()
    refused: tuple[Refused, ...] = ()
    pending: tuple[int, ...] = ()
    """Places the source will read again by itself; the ledger holds them meanwhile."""
    acked: tuple[int, ...] = ()
    """Owed places that turned out to hold nothing."""
    passed: str = ""
    """Why a place gave nothing: hole, placeholder, expired, …"""

    @property
    def quiet(self) -> bool:
        """Tell whether nothing happened; such steps let the reader stop in between."""
        return not (self.references or self.refused or self.pending or self.acked or self.passed)


class Source(Protocol):
    """One upstream feed, open."""

    name: str
    """The name under which its position is kept."""
    gives_once: bool
    """What it gave is gone there: it must be durable before the next is asked for."""

    def steps(self, cursor: int | None) -> AsyncGenerator[Step, None]:
        """Walk the feed from behind a cursor (None: from its tip), for ever.

        Waits out whatever passes.

        Raises:
            Misconfigured: the upstream refuses our settings for good.
            UpstreamRetired: the upstream is gone.
        """

    async def recall(self, positions: Iterable[int]) -> None:
        """Have places read again among the steps; returns once each was looked at."""
