"""The tables of killmails: what is stored, the feed, the sources and what was rejected."""

from datetime import datetime
from typing import Final

from sqlalchemy import REAL, BigInteger, Index, Integer, LargeBinary, SmallInteger, Text, text
from sqlmodel import Field, SQLModel

from actors.shared.tables.columns import DEFAULT_0, INSERTED, QUEUED, Utc

_VALUE_IS_KNOWN: Final = text("total_value IS NOT NULL")
_LIVE: Final = {"server_default": text("'live'")}


class KillmailRow(SQLModel, table=True):
    """One killmail: searchable columns, zKillboard's block, and ESI's body unchanged."""

    __tablename__ = "killmails"
    __table_args__ = (
        Index("killmails_newest", "killmail_time", "killmail_id"),
        Index("killmails_created", "created_at", postgresql_using="brin"),
        Index(
            "killmails_value",
            "total_value",
            "killmail_id",
            postgresql_where=_VALUE_IS_KNOWN,
            sqlite_where=_VALUE_IS_KNOWN,
        ),
        INSERTED,
    )

    killmail_id: int = Field(primary_key=True, sa_type=BigInteger)
    killmail_hash: str = Field(sa_type=Text)
    killmail_time: datetime = Field(sa_type=Utc)
    solar_system_id: int = Field(sa_type=BigInteger)
    moon_id: int | None = Field(default=None, sa_type=BigInteger)
    war_id: int | None = Field(default=None, sa_type=BigInteger)
    victim_character_id: int | None = Field(default=None, sa_type=BigInteger)
    victim_corporation_id: int | None = Field(default=None, sa_type=BigInteger)
    victim_alliance_id: int | None = Field(default=None, sa_type=BigInteger)
    victim_faction_id: int | None = Field(default=None, sa_type=BigInteger)
    victim_ship_type_id: int = Field(sa_type=BigInteger)
    victim_damage_taken: int = Field(sa_type=BigInteger)
    attacker_count: int = Field(sa_type=BigInteger)
    zkb: bytes | None = Field(default=None, sa_type=LargeBinary)
    body: bytes = Field(sa_type=LargeBinary)
    body_as_of: datetime = Field(sa_type=Utc)
    zkb_as_of: datetime | None = Field(default=None, sa_type=Utc)
    created_at: datetime = Field(sa_type=Utc)
    total_value: float | None = None


class DictionaryRow(SQLModel, table=True):
    """One dictionary that bodies are compressed with; the newest is used."""

    __tablename__ = "dictionaries"

    version: int = Field(primary_key=True, sa_type=BigInteger)
    dictionary_id: int = Field(unique=True, sa_type=BigInteger)
    dictionary: bytes = Field(sa_type=LargeBinary)
    killmails: int = Field(sa_type=BigInteger)
    created_at: datetime = Field(sa_type=Utc)
    recompressed_to: int | None = Field(default=None, sa_type=BigInteger)


class AttackerRow(SQLModel, table=True):
    """One attacker of one killmail, in ESI's order: for questions in SQL, we read the body.

    On PostgreSQL no index but BRIN: rows are read by killmail, or in a range of them. The columns
    are as narrow as EVE's ids, in the order in which PostgreSQL needs no padding.
    """

    __tablename__ = "attackers"
    __table_args__ = (
        Index(
            "attackers_killmail",
            "killmail_id",
            postgresql_using="brin",
            postgresql_with={"autosummarize": "on"},
        ).ddl_if(dialect="postgresql"),
        INSERTED,
    )

    killmail_id: int = Field(primary_key=True, sa_type=Integer)
    ordinal: int = Field(primary_key=True, sa_type=SmallInteger)
    final_blow: bool
    character_id: int | None = Field(default=None, sa_type=BigInteger)
    corporation_id: int | None = Field(default=None, sa_type=Integer)
    alliance_id: int | None = Field(default=None, sa_type=Integer)
    faction_id: int | None = Field(default=None, sa_type=Integer)
    ship_type_id: int | None = Field(default=None, sa_type=Integer)
    weapon_type_id: int | None = Field(default=None, sa_type=Integer)
    damage_done: int = Field(sa_type=Integer)
    security_status: float = Field(sa_type=REAL)


SQLModel.metadata.tables["attackers"].primary_key.ddl_if(dialect="sqlite")


class FeedRow(SQLModel, table=True):
    """One entry of the feed; sequences have no gaps and follow the order of commits."""

    __tablename__ = "feed"
    __table_args__ = INSERTED

    sequence: int = Field(primary_key=True, sa_type=BigInteger)
    killmail_id: int | None = Field(default=None, sa_type=BigInteger)
    kind: str = Field(sa_type=Text)
    stored_at: datetime = Field(sa_type=Utc)
    origin: str = Field(default="live", sa_type=Text, sa_column_kwargs=_LIVE)


class UnpublishedRow(SQLModel, table=True):
    """An entry of the feed that may not be on topic and channel yet."""

    __tablename__ = "unpublished"
    __table_args__ = QUEUED

    sequence: int = Field(primary_key=True, sa_type=BigInteger)


class FeedCounterRow(SQLModel, table=True):
    """The single row that numbers the feed; its row lock serializes appending transactions."""

    __tablename__ = "feed_counter"

    only: int = Field(default=1, primary_key=True, sa_type=BigInteger)
    last_sequence: int = Field(sa_type=BigInteger)
    feed_id: str = Field(sa_type=Text)


class NameRow(SQLModel, table=True):
    """The name of an id; NULL when ESI doesn't know the id."""

    __tablename__ = "names"
    __table_args__ = (
        Index("names_search", "category", text("lower(name) text_pattern_ops")).ddl_if(
            dialect="postgresql"
        ),
        Index("names_search", "category", text("name COLLATE NOCASE")).ddl_if(dialect="sqlite"),
    )

    id: int = Field(primary_key=True, sa_type=BigInteger)
    name: str | None = Field(default=None, sa_type=Text)
    category: str | None = Field(default=None, sa_type=Text)
    checked_at: datetime = Field(sa_type=Utc)


class CursorRow(SQLModel, table=True):
    """The position up to which a source was read, and its newest known position."""

    __tablename__ = "cursors"

    source: str = Field(primary_key=True, sa_type=Text)
    position: int | None = Field(default=None, sa_type=BigInteger)
    updated_at: datetime = Field(sa_type=Utc)
    tip: int | None = Field(default=None, sa_type=BigInteger)
    checked_at: datetime | None = Field(default=None, sa_type=Utc)
    fencing_token: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=DEFAULT_0)


class LedgerRow(SQLModel, table=True):
    """A position of a source that was read or is absent, and isn't durable yet."""

    __tablename__ = "ledger"
    __table_args__ = QUEUED

    source: str = Field(primary_key=True, sa_type=Text)
    position: int = Field(primary_key=True, sa_type=BigInteger)
    reference: bytes | None = Field(default=None, sa_type=LargeBinary)
    received_at: datetime = Field(sa_type=Utc)
    kind: str = Field(sa_type=Text)
    killmail_id: int | None = Field(default=None, sa_type=BigInteger)
    killmail_hash: str | None = Field(default=None, sa_type=Text)
    object_id: str | None = Field(default=None, sa_type=Text)
    tries: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=DEFAULT_0)
    next_try_at: datetime = Field(sa_type=Utc)
    refusals: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=DEFAULT_0)
    refused_at: datetime | None = Field(default=None, sa_type=Utc)


class GapRow(SQLModel, table=True):
    """Positions of a source that were skipped permanently, for an import of history to fill."""

    __tablename__ = "gaps"

    source: str = Field(primary_key=True, sa_type=Text)
    first_position: int = Field(primary_key=True, sa_type=BigInteger)
    last_position: int = Field(sa_type=BigInteger)
    reason: str = Field(sa_type=Text)
    recorded_at: datetime = Field(sa_type=Utc)


class RejectedRow(SQLModel, table=True):
    """A rejection: the refused value with the reason."""

    __tablename__ = "rejected"
    __table_args__ = (
        Index("rejected_oldest", "rejected_at"),
        Index("rejected_killmail", "killmail_id"),
    )

    digest: str = Field(primary_key=True, sa_type=Text)
    reason: str = Field(sa_type=Text)
    rejection: bytes = Field(sa_type=LargeBinary)
    rejected_at: datetime = Field(sa_type=Utc)
    killmail_id: int | None = Field(default=None, sa_type=BigInteger)
