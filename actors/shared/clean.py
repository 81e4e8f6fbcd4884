"""Clean data that the database can't store: text with NULs, JSON with numbers out of range.

Source: PostgreSQL's documentation, "JSON Types" (no NUL, no lone surrogate) and "Numeric Types"
(at most 16,383 digits after the point).
"""

import json
import re
from math import isfinite
from typing import Any, Final

import msgspec

from actors.shared.errors import Invalid

MAX_NUMBER_CHARS: Final = 100
MAX_EXPONENT: Final = 400
"""A number beyond either limit is rewritten as the nearest float."""

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def clean_text(text: str) -> str:
    """Replace NULs and lone surrogates by U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


def clean_object(value: bytes) -> bytes:
    """Return a JSON object that both databases can store: the same bytes where possible.

    Otherwise a copy with cleaned text, long numbers rounded to floats, and null for numbers that
    are out of the range of floats.

    Raises:
        Invalid: it isn't a JSON object.
    """
    try:
        if not (b"\\u0000" in value and _NUL.search(value)):
            _decoder.decode(value)
            return value
    except (msgspec.DecodeError, RecursionError):
        pass  # parsed leniently below
    try:
        found = json.loads(value, parse_float=_rounded, parse_int=_integer, parse_constant=_null)
        if not isinstance(found, dict):
            raise Invalid("not a JSON object")
        return msgspec.json.encode(_cleaned(found))
    except (ValueError, RecursionError) as error:
        raise Invalid(f"not a JSON object: {error}") from None


def _number(text: str) -> float:
    """Refuse a number that may be out of range; the returned value is unused."""
    if len(text) > MAX_NUMBER_CHARS or (("e" in text or "E" in text) and _is_extreme(text)):
        raise ValueError("number out of range")
    return 0.0


def _is_extreme(text: str) -> bool:
    exponent = text.lower().partition("e")[2]
    return not isfinite(float(text)) or abs(int(exponent)) > MAX_EXPONENT


_decoder: Final = msgspec.json.Decoder(dict[str, Any], float_hook=_number)


def _rounded(text: str) -> float | None:
    number = float(text)
    return number if isfinite(number) else None


def _integer(text: str) -> int | float | None:
    return int(text) if len(text) <= MAX_NUMBER_CHARS else _rounded(text)


def _null(_: str) -> None:
    """Read NaN and Infinity as null."""


def _cleaned(value: Any) -> Any:
    match value:
        case str():
            return clean_text(value)
        case list():
            return [_cleaned(inner) for inner in value]
        case dict():
            return {clean_text(key): _cleaned(inner) for key, inner in value.items()}
        case _:
            return value
