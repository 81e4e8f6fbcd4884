"""Filters as parameters of a REST address. No I/O.

A condition is a parameter of its name in GraphQL, `shipTypeId=587`; one in a block has the block's
name before it, `victim.shipGroupId=25,26`. Lists are separated by commas, or the parameter stands
several times. What combines filters, `and`, `or` and `not`, is in the parameter `filter`, which is
a whole GraphQL filter as JSON. All that is given has to hold.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    get_nullable_type,
)

from api.errors import BadInput
from api.filters.bounds import Given
from api.filters.syntax import (
    FILTER,
    coerced,
    named_type,
    number_of,
    read_json,
    to_json,
    write_json,
)

WHOLE: Final = "filter"
"""The parameter that is a filter as JSON."""
_ANY: Final = ("role", "any")
"""What GraphQL gives by itself."""
_COMBINING: Final = frozenset({"and", "or", "not"})


def _parameters(of: GraphQLInputObjectType, before: str) -> Iterator[tuple[str, GraphQLInputType]]:
    for name, field in of.fields.items():
        type_ = named_type(field.type)
        if name in _COMBINING:
            continue
        if isinstance(type_, GraphQLInputObjectType):
            yield from _parameters(type_, f"{before}{name}.")
        else:
            yield f"{before}{name}", field.type


PARAMETERS: Final[Mapping[str, GraphQLInputType]] = dict(_parameters(FILTER, ""))
"""The types of all parameters but `filter`, by name."""


def is_parameter(name: str) -> bool:
    """Tell whether a parameter belongs to a filter."""
    return name == WHOLE or name in PARAMETERS


def filter_of_query(parameters: Iterable[tuple[str, str]]) -> Given:
    """Read the parameters of a filter, as they were decoded from an address.

    Raises:
        BadInput: one isn't a filter's, or has a value of another kind; the message names it.
    """
    flat: dict[str, Any] = {}
    combined: list[Given] = []
    seen: set[str] = set()
    for name, text in parameters:
        if name == WHOLE:
            combined.append(read_json(text))
        elif (type_ := PARAMETERS.get(name)) is None:
            raise BadInput(f"{name}: isn't a parameter of a filter")
        elif isinstance(get_nullable_type(type_), GraphQLList):
            _put(
                flat,
                name,
                [*_at(flat, name), *(_read(name, type_, one) for one in text.split(","))],
            )
        elif name in seen:
            raise BadInput(f"{name}: is given twice")
        else:
            seen.add(name)
            _put(flat, name, _read(name, type_, text))
    whole: Given = coerced(flat, FILTER, "filter")
    for one in combined:
        whole = _both(whole, one)
    return whole


def query_of_filter(given: Given) -> list[tuple[str, str]]:
    """Write a filter as parameters, not yet encoded for an address."""
    flat = {name: value for name, value in given.items() if name not in _COMBINING}
    parameters, left = [], {name: given[name] for name in _COMBINING if name in given}
    for name, value in _leaves(to_json(flat, FILTER), ""):
        texts = [_write(one) for one in (value if isinstance(value, list) else [value])]
        if isinstance(value, list) and any("," in text for text in texts):
            return [(WHOLE, write_json(given))]
        parameters.append((name, ",".join(texts)))
    return [*parameters, (WHOLE, write_json(left))] if left else parameters


def _both(one: Given, other: Given) -> Given:
    """Combine filters: into one if they have no condition in common."""
    mine, others = _asked(one), _asked(other)
    return {"and": [one, other]} if mine.keys() & others.keys() else {**one, **others}


def _asked(given: Given) -> Given:
    return {
        name: value for name, value in given.items() if value is not None and (name, value) != _ANY
    }


def _read(name: str, type_: GraphQLInputType, text: str) -> Any:
    """Read a value as JSON would have it."""
    kind = named_type(type_)
    if isinstance(kind, GraphQLEnumType) or kind.name in ("String", "DateTime"):
        return text
    if kind.name == "Boolean":
        if text not in ("true", "false"):
            raise BadInput(f"{name}: must be true or false, not {text!r}")
        return text == "true"
    return number_of(name, text, whole=kind.name != "Float")


def _write(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _leaves(value: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    for name, one in value.items():
        if isinstance(one, Mapping):
            yield from _leaves(one, f"{before}{name}.")
        else:
            yield f"{before}{name}", one


def _at(flat: dict[str, Any], name: str) -> Any:
    """Return what was given of a parameter; an empty list if nothing was."""
    at: Any = flat
    for part in name.split("."):
        at = at.get(part, {}) if isinstance(at, dict) else {}
    return at or []


def _put(flat: dict[str, Any], name: str, value: Any) -> None:
    *blocks, last = name.split(".")
    for block in blocks:
        flat = flat.setdefault(block, {})
    flat[last] = value
