"""Validators of the messages, by the AsyncAPI document as it is served."""

from datetime import datetime
from functools import cache
from typing import Any

import msgspec
import yaml
from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker

from streams.asyncapi.__main__ import FILE

FORMATS = FormatChecker(formats=())


@FORMATS.checks("date-time", raises=ValueError)
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@FORMATS.checks("int64")
def _is_int64(value: object) -> bool:
    return not isinstance(value, int) or -(2**63) <= value < 2**63


@cache
def document() -> dict[str, Any]:
    """Read the document."""
    read: dict[str, Any] = yaml.safe_load(FILE.read_bytes())
    return read


@cache
def validator(name: str, draft: Any = Draft7Validator) -> Any:
    """Make a validator of one of the document's schemas."""
    components = {"schemas": document()["components"]["schemas"]}
    pointed = {"$ref": f"#/components/schemas/{name}", "components": components}
    return draft(pointed, format_checker=FORMATS)


def is_valid(name: str, value: bytes | str) -> bool:
    """Tell whether a message satisfies the schema, by both drafts of JSON Schema."""
    decoded = msgspec.json.decode(value)
    older: bool = validator(name).is_valid(decoded)
    assert validator(name, Draft202012Validator).is_valid(decoded) == older
    return older


def check(name: str, value: bytes | str) -> None:
    """Validate a message. Raises jsonschema's error, which says what is wrong."""
    validator(name).validate(msgspec.json.decode(value))
