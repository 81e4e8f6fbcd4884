"""Column types and defaults that several tables use."""

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import DateTime, text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator


class Utc(TypeDecorator[datetime]):
    """A point in time. SQLite stores no time zone; UTC is added on read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC."""
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


DEFAULT_0: Final = {"server_default": text("0")}
DEFAULT_1: Final = {"server_default": text("1")}
DEFAULT_FALSE: Final = {"server_default": text("false")}

INSERTED: Final[dict[str, Any]] = {
    "postgresql_with": {
        "autovacuum_vacuum_insert_scale_factor": 0,
        "autovacuum_vacuum_insert_threshold": 100_000,
        "autovacuum_vacuum_scale_factor": 0.02,
        "autovacuum_analyze_scale_factor": 0.01,
    }
}
"""Of large tables whose rows are inserted and seldom changed: vacuumed as they grow."""
UPDATED: Final[dict[str, Any]] = {
    "postgresql_with": {
        "autovacuum_vacuum_scale_factor": 0.02,
        "autovacuum_analyze_scale_factor": 0.02,
    }
}
"""Of large tables of which a few rows are updated often."""
QUEUED: Final[dict[str, Any]] = {
    "postgresql_with": {
        "autovacuum_vacuum_scale_factor": 0,
        "autovacuum_vacuum_threshold": 1000,
        "autovacuum_vacuum_cost_delay": 0,
        "autovacuum_analyze_scale_factor": 0,
        "autovacuum_analyze_threshold": 1000,
        "vacuum_truncate": "false",
    }
}
"""Of tables whose rows are deleted soon: vacuumed by dead rows alone, at full speed.

`vacuum_truncate` would lock the table to give back space that is used again.
"""
