"""Killmails and imported days as clients get them; a body is parsed at the first access."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from time import time
from typing import Any, Final

import msgspec

from actors.shared.feed import Entry, FeedEntry, ImportedDay
from actors.shared.finding.facts import Fact, facts_of
from actors.shared.finding.subject import Subject
from actors.shared.finding.universe import Ship
from actors.shared.killmail import Killmail, parse_killmail
from api.payloads import Payloads
from api.static_data import NOT_LOADED, StaticData


class View:
    """One killmail, from the feed or from a list; shared by all subscriptions."""

    type_name: Final = "Killmail"

    def __init__(self, entry: Entry, static: StaticData = NOT_LOADED) -> None:
        self.entry = entry
        self.static = static
        """What names and places are looked up in."""
        self.names: Mapping[int, str] = entry.names
        """Names by id; may have ids of other killmails, too."""
        self.received_s = time()
        """When this process got it, in Unix seconds."""
        self.payloads = Payloads(self.size)
        """Encoded results of subscriptions."""
        self.subject: tuple[object, Subject] | None = None
        """What filters are applied to, and what it was made with: see `Facts.subject`."""

    @property
    def sequence(self) -> int | None:
        """The sequence in the feed; None in lists."""
        return self.entry.sequence or None

    @property
    def stored_at(self) -> datetime:
        """When the entry was committed."""
        return datetime.fromtimestamp(self.entry.stored_at, UTC)

    @property
    def received_at(self) -> datetime:
        """When this process got it."""
        return datetime.fromtimestamp(self.received_s, UTC)

    @property
    def size(self) -> int:
        """Bytes of the body, which takes most of the memory."""
        return len(memoryview(self.entry.killmail))

    @cached_property
    def killmail(self) -> Killmail:
        """The parsed body."""
        return parse_killmail(self.entry.killmail)

    @cached_property
    def zkb(self) -> dict[str, Any] | None:
        """The decoded zkb block; None when there is none."""
        raw = self.entry.zkb
        return msgspec.json.decode(raw) if len(memoryview(raw)) else None

    def of_zkb(self, key: str) -> Any:
        """Return what zKillboard says; None without its block, or where it says nothing."""
        return self.zkb.get(key) if isinstance(self.zkb, dict) else None

    def name_of_type(self, type_id: int | None) -> str | None:
        """Return the name of a type."""
        if type_id is None:
            return None
        return self.names.get(type_id) or self.static.type_name(type_id)

    @cached_property
    def facts(self) -> frozenset[Fact] | None:
        """What body and static data decide; None while the victim's type isn't known."""
        type_id = self.killmail.victim.ship_type_id
        known, category_id = self.static.types.get(type_id), self.static.category_of(type_id)
        if known is None or category_id is None:
            return None
        return frozenset(facts_of(self.killmail, Ship(known.group_id, category_id)))


class DayView:
    """An imported day, from the feed; shared by all subscriptions."""

    size = 0

    def __init__(self, entry: ImportedDay) -> None:
        self.entry = entry
        self.payloads = Payloads()
        """Encoded results of subscriptions."""

    @property
    def sequence(self) -> int:
        """The sequence in the feed."""
        return self.entry.sequence

    @property
    def stored_at(self) -> datetime:
        """When the entry was committed."""
        return datetime.fromtimestamp(self.entry.stored_at, UTC)


FeedView = View | DayView


def view_of(entry: FeedEntry, static: StaticData = NOT_LOADED) -> FeedView:
    """Make the view of an entry of the feed."""
    return View(entry, static) if isinstance(entry, Entry) else DayView(entry)
