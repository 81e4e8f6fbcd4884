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
    """Serialize in UTC, to the second."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@DATE_TIME.value_parser
def parse_date_time(value: Any) -> datetime:
    """Parse ISO 8601; without an offset it is UTC."""
    time = datetime.fromisoformat(value)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _long(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise ValueError(f"not a 64-bit integer: {value!r}")
    return value
