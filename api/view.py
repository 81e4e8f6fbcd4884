"""What doors show: one killmail with the names it needs, parsed at the first look."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import msgspec

from actors.shared.feed import Entry
from actors.shared.killmail import Killmail, parse_killmail


class View:
    """One killmail, from the feed or from a list; shared by all who look at it."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.names: Mapping[int, str] = entry.names
        """May hold more than it needs."""
        self.payloads: dict[tuple[object, ...], bytes] = {}
        """Results of subscriptions, by document, operation and variables."""

    @property
    def sequence(self) -> int | None:
        """Its place in the feed; None in lists."""
        return self.entry.sequence or None

    @property
    def stored_at(self) -> datetime:
        """When this place in the feed was committed."""
        return datetime.fromtimestamp(self.entry.stored_at, UTC)

    @property
    def size(self) -> int:
        """Bytes of the body, the bulk of what it takes in memory."""
        return len(memoryview(self.entry.killmail))

    @cached_property
    def killmail(self) -> Killmail:
        """ESI's killmail."""
        return parse_killmail(self.entry.killmail)

    @cached_property
    def zkb(self) -> dict[str, Any] | None:
        """ZKillboard's block."""
        raw = self.entry.zkb
        return msgspec.json.decode(raw) if len(memoryview(raw)) else None
