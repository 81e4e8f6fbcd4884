"""Affiliations of characters, corporations, alliances and types, as ESI describes them.

Only what one can't do without is required: ESI adds, and at times leaves out, fields.
"""

from datetime import datetime
from typing import Annotated

import msgspec

from actors.shared.killmail import Id, Int64

Timestamp = Annotated[datetime, msgspec.Meta(tz=True)]


class Affiliation(msgspec.Struct, frozen=True, gc=False):
    """One element of the response of `/characters/affiliation`."""

    character_id: Id
    corporation_id: Id
    alliance_id: Id | None = None
    faction_id: Id | None = None


class TaxRates(msgspec.Struct, frozen=True, gc=False):
    """A corporation's taxes, in percent: 0 to 100."""

    isk: float | None = None


class Corporation(msgspec.Struct, frozen=True, gc=False):
    """A corporation."""

    name: str
    ticker: str
    member_count: Int64
    alliance_id: Id | None = None
    enlisted_faction_id: Id | None = None
    ceo_id: Id | None = None
    creator_id: Id | None = None
    date_founded: Timestamp | None = None
    home_station_id: Id | None = None
    tax_rates: TaxRates | None = None
    state: str | None = None
    """`active` or `closed`."""
    war_eligible: bool | None = None
    url: str | None = None
    description: str | None = None


class Alliance(msgspec.Struct, frozen=True, gc=False):
    """An alliance."""

    name: str
    ticker: str
    creator_id: Id | None = None
    creator_corporation_id: Id | None = None
    executor_corporation_id: Id | None = None
    faction_id: Id | None = None
    date_founded: Timestamp | None = None


class ItemType(msgspec.Struct, frozen=True, gc=False):
    """A type of items."""

    type_id: Id
    name: str
    group_id: Id
    published: bool
    market_group_id: Id | None = None
    volume: float | None = None
    packaged_volume: float | None = None
    mass: float | None = None
    capacity: float | None = None
