"""What a subscription to the feed sends: killmails, imported days, and its own state."""

from dataclasses import dataclass
from datetime import datetime

from api.view import DayView, View


@dataclass(frozen=True)
class KillmailEvent:
    """A new or corrected killmail."""

    view: View
    matched: tuple[str, ...]
    """Names of the subscription's filters that it meets."""

    @property
    def sequence(self) -> int:
        """The sequence of its entry."""
        return self.view.entry.sequence


@dataclass(frozen=True)
class DayImported:
    """An imported day."""

    view: DayView

    @property
    def sequence(self) -> int:
        """The sequence of its entry."""
        return self.view.entry.sequence


@dataclass(frozen=True)
class Heartbeat:
    """Nothing came, and the subscription goes on."""

    sequence: int
    """All entries up to this one were sent, or don't meet the subscription."""
    sent_at: datetime


@dataclass(frozen=True)
class Lagged:
    """The client fell behind; what it lacks follows."""

    sequence: int
    """The last entry that was sent."""
    last_sequence: int
    """The feed's last one."""


@dataclass(frozen=True)
class CursorTooOld:
    """Entries after the client's sequence are no longer in the feed; the subscription ends."""

    sequence: int
    """The client's."""
    first_sequence: int
    """The first one that is there."""


Event = KillmailEvent | DayImported | Heartbeat | Lagged | CursorTooOld
