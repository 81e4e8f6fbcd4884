"""Limits of filters, and what a filter needs to be understood. No I/O."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, Final

from actors.shared.zkb import MAX_LABEL_CHARS
from api.errors import BadInput

MAX_CONDITIONS: Final = 200
"""In a filter, with its `and`, `or` and `not`."""
MAX_DEPTH: Final = 8
"""Filters within filters."""
MAX_LIST: Final = 100
"""Ids in a list, and filters in one of `and` and `or`."""

_COMBINING: Final = frozenset({"and", "or", "not"})
_OF_SPACE: Final = frozenset({"near", "min_security", "max_security"})
_OF_TYPES: Final = frozenset({"ship_category_id", "weapon_group_id", "item_group_id"})
_OF_UNIVERSE: Final = _OF_TYPES | {
    *("ship_group_id", "constellation_id", "region_id", "space_band", "npc", "solo", "awox")
}

Given = Mapping[str, Any]
"""A filter: the GraphQL argument, with names in snake case."""


@dataclass
class Needs:
    """What of the database is needed to understand a filter."""

    labels: set[str] = field(default_factory=set)
    universe: bool = False
    space: bool = False


def check_bounds(given: Given) -> Needs:
    """Check that a filter is within the limits, and see what it needs.

    Raises:
        BadInput: it isn't; the message has the place.
    """
    needs, count = Needs(), 0
    open_ = [("filter", given, 1)]
    while open_:
        path, one, depth = open_.pop()
        if depth > MAX_DEPTH:
            raise BadInput(f"{path}: is more than {MAX_DEPTH} filters deep")
        for name, value in _given(one):
            count += 1
            at = f"{path}.{camel(name)}"
            if count > MAX_CONDITIONS:
                raise BadInput(f"{at}: is one of more than {MAX_CONDITIONS} conditions")
            _check_list(at, value)
            if name in _COMBINING:
                open_ += [(where, inner, depth + 1) for where, inner in inner_of(at, value)]
            elif isinstance(value, Mapping):
                open_.append((at, value, depth))
            _note_needs(needs, at, name, value)
    return needs


def inner_of(path: str, value: Any) -> Iterator[tuple[str, Given]]:
    """Yield the filters that are combined, with their places."""
    if isinstance(value, Mapping):
        yield path, value
    else:
        yield from ((f"{path}[{index}]", one) for index, one in enumerate(value))


def camel(name: str) -> str:
    """Write a name as clients do."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _given(one: Given) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in one.items() if value is not None and name != "role")


def _check_list(path: str, value: Any) -> None:
    if isinstance(value, list) and not value:
        raise BadInput(f"{path}: is an empty list, which no killmail can meet")
    if isinstance(value, list) and len(value) > MAX_LIST:
        raise BadInput(f"{path}: has {len(value)} entries, and {MAX_LIST} is the limit")


def _note_needs(needs: Needs, path: str, name: str, value: Any) -> None:
    if name == "label":
        needs.labels.update(map(_label, repeat(path), value))
    needs.space |= name in _OF_SPACE
    needs.universe |= name in _OF_UNIVERSE


def _label(path: str, label: str) -> str:
    """Check that zKillboard might have such a label: a database may refuse to be asked for it."""
    if not label.isprintable() or not 0 < len(label) <= MAX_LABEL_CHARS:
        raise BadInput(f"{path}: labels have 1 to {MAX_LABEL_CHARS} printable characters")
    return label
