"""The tables of history that is imported by days."""

from datetime import date, datetime

from sqlalchemy import BigInteger, Date, Index, Text
from sqlmodel import Field, SQLModel

from actors.shared.tables.columns import DEFAULT_0, Utc


class HistoryDayRow(SQLModel, table=True):
    """A day whose killmails were requested from an archive, and how far its import is."""

    __tablename__ = "history_days"
    __table_args__ = (Index("history_days_due", "state", "next_try_at"),)

    day: date = Field(primary_key=True, sa_type=Date)
    source: str = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    state_reason: str | None = Field(default=None, sa_type=Text)
    total: int | None = Field(default=None, sa_type=BigInteger)
    added: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=DEFAULT_0)
    rejected: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=DEFAULT_0)
    requested_at: datetime = Field(sa_type=Utc)
    updated_at: datetime = Field(sa_type=Utc)
    next_try_at: datetime = Field(sa_type=Utc)
    lease: str | None = Field(default=None, sa_type=Text)
    leased_until: datetime = Field(sa_type=Utc)
    downloading_until: datetime | None = Field(default=None, sa_type=Utc)


class ImportedDayRow(SQLModel, table=True):
    """What an entry of the feed of the kind `imported` says."""

    __tablename__ = "imported_days"

    sequence: int = Field(primary_key=True, sa_type=BigInteger)
    day: date = Field(sa_type=Date)
    source: str = Field(sa_type=Text)
    added: int = Field(sa_type=BigInteger)
    total: int = Field(sa_type=BigInteger)
