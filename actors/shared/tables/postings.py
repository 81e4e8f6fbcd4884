"""The tables by which killmails are found."""

from datetime import date, datetime

from sqlalchemy import BigInteger, Date, LargeBinary, SmallInteger, Text
from sqlmodel import Field, SQLModel

from actors.shared.tables.columns import UPDATED, Utc


class PostingRow(SQLModel, table=True):
    """The killmails in one window of ids that have one term."""

    __tablename__ = "postings"
    __table_args__ = UPDATED

    key: int = Field(primary_key=True, sa_type=BigInteger)
    top: int = Field(sa_type=SmallInteger)
    places: bytes = Field(sa_type=LargeBinary)
    worths: bytes = Field(sa_type=LargeBinary)


class LabelRow(SQLModel, table=True):
    """A label of zKillboard's, numbered for its terms."""

    __tablename__ = "labels"

    label_id: int = Field(primary_key=True, sa_type=BigInteger)
    label: str = Field(sa_type=Text, unique=True)


class KillmailDayRow(SQLModel, table=True):
    """The lowest and highest id of the killmails of a day."""

    __tablename__ = "killmail_days"

    day: date = Field(primary_key=True, sa_type=Date)
    first_killmail_id: int = Field(sa_type=BigInteger)
    last_killmail_id: int = Field(sa_type=BigInteger)


class PostingsStateRow(SQLModel, table=True):
    """The single row that says how far the postings of stored killmails are made."""

    __tablename__ = "postings_state"

    only: int = Field(default=1, primary_key=True, sa_type=BigInteger)
    complete: bool
    universe_loaded_at: datetime | None = Field(default=None, sa_type=Utc)
    repair_universe_loaded_at: datetime | None = Field(default=None, sa_type=Utc)


class RepairedBlockRow(SQLModel, table=True):
    """A block of killmail ids that the repair under way has done."""

    __tablename__ = "repaired_blocks"

    block: int = Field(primary_key=True, sa_type=BigInteger)
    row_count: int = Field(sa_type=BigInteger)
