"""The scalars Long and DateTime."""

from datetime import UTC, datetime
from typing import Any, Final

from ariadne import ScalarType

LONG: Final = ScalarType("Long")
DATE_TIME: Final = ScalarType("DateTime")


@LONG.serializer
def serialize_long(value: Any) -> int:
    """Serialize as a JSON number."""
    return _long(value)


@LONG.value_parser
def parse_long(value: Any) -> int:
    """Parse a JSON number or a literal."""
    return _long(value)


@DATE_TIME.serializer
def serialize_date_time(value: datetime) -> str:
    """Serialize in UTC, to the second, or to the millisecond if it has a part of one."""
    spec = "milliseconds" if value.microsecond else "seconds"
    return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=spec)}Z"


@DATE_TIME.value_parser
def parse_date_time(value: Any) -> datetime:
    """Parse ISO 8601, from the year 1 to 9999 in UTC; without an offset it is UTC."""
    try:
        time = datetime.fromisoformat(value)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("not a time like 2026-01-01T12:00:00Z") from None


def _long(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise ValueError("not a 64-bit integer")
    return value
