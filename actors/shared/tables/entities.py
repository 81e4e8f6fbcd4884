"""The tables of characters, corporations, alliances and types, and their daily snapshots.

The schedule of refreshes is in the tables: `next_refresh_at` is when one is due, NULL while nobody
waits for it; `requested_at` is when it was sent to be refreshed.
"""

from datetime import date, datetime
from typing import Final

from sqlalchemy import BigInteger, Date, Index, Text, text
from sqlmodel import Field, SQLModel

from actors.shared.tables.columns import DEFAULT_0, UPDATED, Utc

_UNKNOWN: Final = {"server_default": text("'unknown'")}


class CharacterRow(SQLModel, table=True):
    """A character: where it belongs, as ESI says."""

    __tablename__ = "characters"
    __table_args__ = (
        Index("characters_due", "next_refresh_at"),
        Index("characters_requested", "requested_at"),
        UPDATED,
    )

    character_id: int = Field(primary_key=True, sa_type=BigInteger)
    state: str = Field(default="unknown", sa_type=Text, sa_column_kwargs=_UNKNOWN)
    corporation_id: int | None = Field(default=None, sa_type=BigInteger)
    alliance_id: int | None = Field(default=None, sa_type=BigInteger)
    faction_id: int | None = Field(default=None, sa_type=BigInteger)
    seen_at: datetime | None = Field(default=None, sa_type=Utc)
    next_refresh_at: datetime | None = Field(default=None, sa_type=Utc)
    requested_at: datetime | None = Field(default=None, sa_type=Utc)
    updated_at: datetime | None = Field(default=None, sa_type=Utc)
    expires_at: datetime | None = Field(default=None, sa_type=Utc)
    refused_at: datetime | None = Field(default=None, sa_type=Utc)


class AffiliationRow(SQLModel, table=True):
    """Where a character belonged from a time on, as ESI said then."""

    __tablename__ = "affiliations"

    character_id: int = Field(primary_key=True, sa_type=BigInteger)
    since: datetime = Field(primary_key=True, sa_type=Utc)
    corporation_id: int = Field(sa_type=BigInteger)
    alliance_id: int | None = Field(default=None, sa_type=BigInteger)
    faction_id: int | None = Field(default=None, sa_type=BigInteger)


class CorporationRow(SQLModel, table=True):
    """A corporation, as ESI describes it."""

    __tablename__ = "corporations"
    __table_args__ = (
        Index("corporations_due", "next_refresh_at"),
        Index("corporations_requested", "requested_at"),
        Index("corporations_of_alliance", "alliance_id"),
    )

    corporation_id: int = Field(primary_key=True, sa_type=BigInteger)
    state: str = Field(default="unknown", sa_type=Text, sa_column_kwargs=_UNKNOWN)
    name: str | None = Field(default=None, sa_type=Text)
    ticker: str | None = Field(default=None, sa_type=Text)
    member_count: int | None = Field(default=None, sa_type=BigInteger)
    alliance_id: int | None = Field(default=None, sa_type=BigInteger)
    faction_id: int | None = Field(default=None, sa_type=BigInteger)
    ceo_id: int | None = Field(default=None, sa_type=BigInteger)
    creator_id: int | None = Field(default=None, sa_type=BigInteger)
    date_founded: datetime | None = Field(default=None, sa_type=Utc)
    home_station_id: int | None = Field(default=None, sa_type=BigInteger)
    tax_rate: float | None = Field(default=None)
    war_eligible: bool | None = Field(default=None)
    url: str | None = Field(default=None, sa_type=Text)
    description: str | None = Field(default=None, sa_type=Text)
    etag: str | None = Field(default=None, sa_type=Text)
    seen_at: datetime | None = Field(default=None, sa_type=Utc)
    next_refresh_at: datetime | None = Field(default=None, sa_type=Utc)
    requested_at: datetime | None = Field(default=None, sa_type=Utc)
    updated_at: datetime | None = Field(default=None, sa_type=Utc)
    expires_at: datetime | None = Field(default=None, sa_type=Utc)
    refused_at: datetime | None = Field(default=None, sa_type=Utc)


class AllianceRow(SQLModel, table=True):
    """An alliance, as ESI describes it; its corporations are in `alliance_corporations`."""

    __tablename__ = "alliances"
    __table_args__ = (
        Index("alliances_due", "next_refresh_at"),
        Index("alliances_requested", "requested_at"),
    )

    alliance_id: int = Field(primary_key=True, sa_type=BigInteger)
    state: str = Field(default="unknown", sa_type=Text, sa_column_kwargs=_UNKNOWN)
    name: str | None = Field(default=None, sa_type=Text)
    ticker: str | None = Field(default=None, sa_type=Text)
    creator_id: int | None = Field(default=None, sa_type=BigInteger)
    creator_corporation_id: int | None = Field(default=None, sa_type=BigInteger)
    executor_corporation_id: int | None = Field(default=None, sa_type=BigInteger)
    faction_id: int | None = Field(default=None, sa_type=BigInteger)
    date_founded: datetime | None = Field(default=None, sa_type=Utc)
    etag: str | None = Field(default=None, sa_type=Text)
    corporations_etag: str | None = Field(default=None, sa_type=Text)
    seen_at: datetime | None = Field(default=None, sa_type=Utc)
    next_refresh_at: datetime | None = Field(default=None, sa_type=Utc)
    requested_at: datetime | None = Field(default=None, sa_type=Utc)
    updated_at: datetime | None = Field(default=None, sa_type=Utc)
    expires_at: datetime | None = Field(default=None, sa_type=Utc)
    refused_at: datetime | None = Field(default=None, sa_type=Utc)


class AllianceCorporationRow(SQLModel, table=True):
    """A corporation of an alliance, by ESI's list of the alliance."""

    __tablename__ = "alliance_corporations"

    alliance_id: int = Field(primary_key=True, sa_type=BigInteger)
    corporation_id: int = Field(primary_key=True, sa_type=BigInteger)


class TypeRow(SQLModel, table=True):
    """A type of items, as ESI describes it."""

    __tablename__ = "types"
    __table_args__ = (
        Index("types_due", "next_refresh_at"),
        Index("types_requested", "requested_at"),
    )

    type_id: int = Field(primary_key=True, sa_type=BigInteger)
    state: str = Field(default="unknown", sa_type=Text, sa_column_kwargs=_UNKNOWN)
    name: str | None = Field(default=None, sa_type=Text)
    group_id: int | None = Field(default=None, sa_type=BigInteger)
    market_group_id: int | None = Field(default=None, sa_type=BigInteger)
    published: bool | None = Field(default=None)
    volume: float | None = Field(default=None)
    packaged_volume: float | None = Field(default=None)
    mass: float | None = Field(default=None)
    capacity: float | None = Field(default=None)
    etag: str | None = Field(default=None, sa_type=Text)
    seen_at: datetime | None = Field(default=None, sa_type=Utc)
    next_refresh_at: datetime | None = Field(default=None, sa_type=Utc)
    requested_at: datetime | None = Field(default=None, sa_type=Utc)
    updated_at: datetime | None = Field(default=None, sa_type=Utc)
    expires_at: datetime | None = Field(default=None, sa_type=Utc)
    refused_at: datetime | None = Field(default=None, sa_type=Utc)


class EsiListRow(SQLModel, table=True):
    """A list of ids that ESI gives as a whole, and when it may be asked for again."""

    __tablename__ = "esi_lists"

    name: str = Field(primary_key=True, sa_type=Text)
    etag: str | None = Field(default=None, sa_type=Text)
    requested_at: datetime = Field(sa_type=Utc)
    updated_at: datetime | None = Field(default=None, sa_type=Utc)
    expires_at: datetime | None = Field(default=None, sa_type=Utc)


class FeedReaderRow(SQLModel, table=True):
    """How far a reader within the actors has read the feed."""

    __tablename__ = "feed_readers"

    name: str = Field(primary_key=True, sa_type=Text)
    sequence: int = Field(sa_type=BigInteger)


class SnapshotDayRow(SQLModel, table=True):
    """A day with killmails: when they changed, and when its snapshots were computed."""

    __tablename__ = "snapshot_days"

    day: date = Field(primary_key=True, sa_type=Date)
    changed_at: datetime = Field(sa_type=Utc)
    computed_at: datetime | None = Field(default=None, sa_type=Utc)


class AllianceSnapshotRow(SQLModel, table=True):
    """An alliance on one day."""

    __tablename__ = "alliance_snapshots"
    __table_args__ = (Index("alliance_snapshots_of_day", "day"), UPDATED)

    alliance_id: int = Field(primary_key=True, sa_type=BigInteger)
    day: date = Field(primary_key=True, sa_type=Date)
    members: int | None = Field(default=None, sa_type=BigInteger)
    corporations: int | None = Field(default=None, sa_type=BigInteger)
    kills: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=DEFAULT_0)
    losses: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=DEFAULT_0)
    ships_destroyed: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=DEFAULT_0)
    ships_lost: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=DEFAULT_0)
    isk_destroyed: float = Field(default=0.0, sa_column_kwargs=DEFAULT_0)
    isk_lost: float = Field(default=0.0, sa_column_kwargs=DEFAULT_0)


class CorporationSnapshotRow(SQLModel, table=True):
    """A corporation on one day."""

    __tablename__ = "corporation_snapshots"
    __table_args__ = (Index("corporation_snapshots_of_day", "day", "alliance_id"), UPDATED)

    corporation_id: int = Field(primary_key=True, sa_type=BigInteger)
    day: date = Field(primary_key=True, sa_type=Date)
    alliance_id: int | None = Field(default=None, sa_type=BigInteger)
    members: int | None = Field(default=None, sa_type=BigInteger)
    kills: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=DEFAULT_0)
    losses: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=DEFAULT_0)
    ships_destroyed: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=DEFAULT_0)
    ships_lost: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=DEFAULT_0)
    isk_destroyed: float = Field(default=0.0, sa_column_kwargs=DEFAULT_0)
    isk_lost: float = Field(default=0.0, sa_column_kwargs=DEFAULT_0)
