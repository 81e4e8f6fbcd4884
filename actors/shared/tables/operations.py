"""The table of operators' switches."""

from datetime import datetime

from sqlalchemy import Text
from sqlmodel import Field, SQLModel

from actors.shared.tables.columns import Utc


class PauseRow(SQLModel, table=True):
    """A queue whose messages aren't consumed, or the source that isn't polled, until resumed."""

    __tablename__ = "pauses"

    name: str = Field(primary_key=True, sa_type=Text)
    paused_at: datetime = Field(sa_type=Utc)
