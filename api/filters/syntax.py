"""The filter as GraphQL's schema defines it, for the other syntaxes. No I/O."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any, Final, cast

import msgspec
from ariadne import gql, make_executable_schema
from graphql import (
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNamedInputType,
    coerce_input_value,
    get_named_type,
    get_nullable_type,
    validate_input_value,
)

from actors.shared.errors import DECODE_ERRORS
from api.errors import BadInput
from api.filters.bounds import Given
from api.scalars import DATE_TIME, LONG

MAX_JSON_CHARS: Final = 20_000
"""Of a filter written as JSON."""
MAX_JSON_DEPTH: Final = 40
"""Of its brackets."""

_NUMBER: Final = re.compile(r"-?[0-9]{1,30}(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_SDL: Final = (Path(__file__).parents[1] / "schema" / "filter.graphql").read_text()
_REST: Final = "scalar Long scalar DateTime type Query { nothing: Boolean }"
_SCHEMA: Final = make_executable_schema(
    [gql(_SDL), gql(_REST)], LONG, DATE_TIME, convert_names_case=True
)
FILTER: Final = cast(GraphQLInputObjectType, _SCHEMA.type_map["KillmailFilter"])
"""The input type."""


def read_json(text: str) -> Given:
    """Read a filter that is written as JSON, as a variable of GraphQL is.

    Raises:
        BadInput: it is none; the message has the place.
    """
    if len(text) > MAX_JSON_CHARS:
        raise BadInput(f"filter: has more than {MAX_JSON_CHARS} characters")
    _check_depth(text)
    try:
        value = msgspec.json.decode(text)
    except DECODE_ERRORS as error:
        raise BadInput(f"filter: isn't JSON: {error}") from None
    if value is None:
        raise BadInput("filter: must be an object, and is null")
    given: Given = coerced(value, FILTER, "filter")
    return given


def number_of(path: str, text: str, *, whole: bool) -> float:
    """Read a number that is written as in JSON.

    Raises:
        BadInput: it is none, or an integer is asked for; the message has the place.
    """
    if _NUMBER.fullmatch(text):
        number = int(text) if text.lstrip("-").isdecimal() else float(text)
        if isfinite(number) and (isinstance(number, int) or not whole):
            return number
    raise BadInput(f"{path}: {text!r} isn't {'an integer' if whole else 'a number'}")


def write_json(given: Given) -> str:
    """Write a filter as `read_json` reads it."""
    return msgspec.json.encode(to_json(given, FILTER)).decode()


def coerced(value: Any, type_: GraphQLInputType, path: str) -> Any:
    """Read a value as GraphQL does; raises like `read_json`."""

    def fail(error: GraphQLError, keys: Sequence[str | int]) -> None:
        at = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
        raise BadInput(f"{path}{at}: {error.message}")

    validate_input_value(value, type_, fail)
    return coerce_input_value(value, type_)


def to_json(value: Any, type_: GraphQLInputType) -> Any:
    """Turn what GraphQL has read into JSON again; what isn't given is left out."""
    named, nullable = get_named_type(type_), get_nullable_type(type_)
    if isinstance(nullable, GraphQLList) and isinstance(value, list):
        return [to_json(one, nullable.of_type) for one in value]
    if isinstance(named, GraphQLInputObjectType) and isinstance(value, Mapping):
        return {
            name: to_json(value[python_name], field.type)
            for name, field in named.fields.items()
            for python_name in [field.out_name or name]
            if value.get(python_name) is not None and not _is_default(field, value[python_name])
        }
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value


def named_type(type_: GraphQLInputType) -> GraphQLNamedInputType:
    """Return the type in lists and non-null types."""
    return cast(GraphQLNamedInputType, get_named_type(type_))


def _is_default(field: Any, value: Any) -> bool:
    return bool(field.default_value == value)


def _check_depth(text: str) -> None:
    depth = 0
    for char in text:
        depth += (char in "{[") - (char in "}]")
        if depth > MAX_JSON_DEPTH:
            raise BadInput(f"filter: has brackets in brackets, more than {MAX_JSON_DEPTH}")
