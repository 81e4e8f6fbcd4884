"""What a check found."""

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass
class Findings:
    """What differs from bodies and zkb blocks, by killmail id."""

    killmails: int = 0
    """How many were checked."""
    rows: int = 0
    """How many rows of `postings` they should have."""
    postings: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    """The terms under which the killmail is listed wrongly, or isn't listed."""
    columns: set[int] = field(default_factory=set)
    attackers: set[int] = field(default_factory=set)
    days: set[int] = field(default_factory=set)
    """Those outside the bounds of their day."""
    unreadable: set[int] = field(default_factory=set)
    """Those whose stored body isn't a killmail; nothing can be derived from it."""

    def to_repair(self) -> list[int]:
        """List the killmails that a repair changes."""
        return sorted({*self.postings, *self.columns, *self.attackers, *self.days})

    def counts(self) -> dict[str, int]:
        """Count the killmails by what differs."""
        return {
            name: len(getattr(self, name))
            for name in ("postings", "columns", "attackers", "days", "unreadable")
        }
