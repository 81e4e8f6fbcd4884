"""The tables of the audit: what upstreams have and we lack, by days."""

from datetime import date, datetime

from sqlalchemy import BigInteger, Date, Index, Text
from sqlmodel import Field, SQLModel

from actors.shared.tables.columns import DEFAULT_0, Utc


class CompletenessDayRow(SQLModel, table=True):
    """A day as the audit found it last."""

    __tablename__ = "completeness_days"

    day: date = Field(primary_key=True, sa_type=Date)
    upstream_total: int = Field(sa_type=BigInteger)
    have: int = Field(sa_type=BigInteger)
    missing: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=DEFAULT_0)
    hash_differs: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=DEFAULT_0)
    repaired: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=DEFAULT_0)
    state: str = Field(sa_type=Text)
    repair: str | None = Field(default=None, sa_type=Text)
    checked_at: datetime = Field(sa_type=Utc)
    next_check_at: datetime = Field(sa_type=Utc)


class UnobtainableRow(SQLModel, table=True):
    """A killmail that an upstream names and nobody gives."""

    __tablename__ = "unobtainable"
    __table_args__ = (Index("unobtainable_day", "day"),)

    killmail_id: int = Field(primary_key=True, sa_type=BigInteger)
    killmail_hash: str = Field(sa_type=Text)
    day: date = Field(sa_type=Date)
    reason: str = Field(sa_type=Text)
    recorded_at: datetime = Field(sa_type=Utc)


class RequestTurnRow(SQLModel, table=True):
    """When the next request to an upstream may be sent, of all processes."""

    __tablename__ = "request_turns"

    upstream: str = Field(primary_key=True, sa_type=Text)
    next_at: datetime = Field(sa_type=Utc)
