"""Cursors of lists; opaque to clients."""

from base64 import b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from math import isnan
from typing import Final

from actors.shared.finding.by_value import ValuePosition
from api.errors import BadInput
from api.reads import Position
from api.search import Start

MAX_ID: Final = 2**62


def encode_position(position: Position) -> str:
    """Encode a position in the order of time."""
    since = position.killmail_time - _EPOCH
    return _encode(f"{since // _MICROSECOND}:{position.killmail_id}")


def decode_cursor(cursor: str) -> Position:
    """Decode a cursor of `encode_position`.

    Raises:
        BadInput: the text isn't a cursor.
    """
    try:
        time_us, killmail_id = map(int, _decode(cursor).split(":"))
        return Position(_EPOCH + time_us * _MICROSECOND, _id_of(killmail_id))
    except (ValueError, OverflowError):
        raise BadInput(_NO_CURSOR) from None


def encode_start(start: Start) -> str:
    """Encode where a search goes on."""
    if isinstance(start, int):
        return _encode(f"{_ID}{start}")
    value = "" if start.total_value is None else start.total_value.hex()
    return _encode(f"{_VALUE}{value}:{start.killmail_id}")


def decode_start(cursor: str) -> int:
    """Decode a cursor of a search in the order of time.

    Raises:
        BadInput: the text isn't such a cursor.
    """
    try:
        return _id_of(_after(_ID, cursor))
    except ValueError:
        raise BadInput(_NO_CURSOR) from None


def decode_value(cursor: str) -> ValuePosition:
    """Decode a cursor of a search in the order of values; raises like `decode_start`."""
    try:
        value, killmail_id = _after(_VALUE, cursor).split(":")
        total_value = float.fromhex(value) if value else None
        if total_value is not None and isnan(total_value):
            raise ValueError
        return ValuePosition(total_value, _id_of(killmail_id))
    except (ValueError, OverflowError):
        raise BadInput(_NO_CURSOR) from None


def _id_of(text: str | int) -> int:
    """Read an id. Those beside it fit into 64 bits, too."""
    killmail_id = int(text)
    if abs(killmail_id) > MAX_ID:
        raise ValueError
    return killmail_id


def _after(prefix: str, cursor: str) -> str:
    text = _decode(cursor)
    if not text.startswith(prefix):
        raise ValueError
    return text.removeprefix(prefix)


def _encode(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(cursor: str) -> str:
    padded = cursor + "=" * (-len(cursor) % 4)
    return b64decode(padded, altchars=b"-_", validate=True).decode()


_ID: Final = "id:"
_VALUE: Final = "value:"
_NO_CURSOR: Final = (
    "after, before: not a cursor; use those of a page of the same filter and orderBy"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
