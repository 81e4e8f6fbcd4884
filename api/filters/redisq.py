"""RedisQ's filter strings, as far as their keys are conditions of ours. No I/O.

`alliance_id=99000001;totalValue>=1e9` is both, `character_id=1,character_id=2` one of them; both
separators in one string are refused. A key means that a killmail's package has it anywhere: ids are
those of the victim or any attacker, and each rule is met by itself.

Source: RedisQ's README and `util/filters.js` (see there for what other keys did).
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from api.errors import BadInput
from api.filters.bounds import Given
from api.filters.syntax import number_of

MAX_CHARS: Final = 4_000

_RULE: Final = re.compile(r"\s*([^!<>=\s]+)\s*(!=|<=|>=|=|<|>)\s*(.*?)\s*", re.DOTALL)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_ANYONE: Final = ("character_id", "corporation_id", "alliance_id", "faction_id", "ship_type_id")
_NUMBERS: Final = {
    "totalValue": "total_value",
    "destroyedValue": "destroyed_value",
    "droppedValue": "dropped_value",
    "fittedValue": "fitted_value",
    "points": "points",
    "attackerCount": "attackers",
}
_FACTS: Final = ("npc", "solo", "awox")
_TRUTHS: Final = {"true": True, "1": True, "false": False, "0": False}
_OPPOSITE: Final = {"<": ">=", ">": "<=", "!=": "="}
_SEPARATORS: Final = {"and": ";", "or": ","}

Write = Callable[[str, str, str], Given]
"""Makes the filter of a key, an operator and a value."""


def filter_of_string(text: str) -> Given:
    """Read a filter string.

    Raises:
        BadInput: it isn't one, or has a key that isn't a condition of ours; the message names it.
    """
    if len(text) > MAX_CHARS:
        raise BadInput(f"filter: has more than {MAX_CHARS} characters")
    if ";" in text and "," in text:
        raise BadInput("filter: `;` (and) and `,` (or) can't be in one filter")
    name, separator = ("or", ",") if "," in text else ("and", ";")
    rules = [_read(rule) for rule in text.split(separator)]
    return rules[0] if len(rules) == 1 else {name: rules}


def string_of_filter(given: Given) -> str | None:
    """Write a filter as a string; None for one that no string can be read as."""
    for name, separator in _SEPARATORS.items():
        if given.keys() == {name}:
            rules = [_write(rule) for rule in given[name]]
            whole = all(rule is not None and not set(rule) & set(";,") for rule in rules)
            return separator.join(filter(None, rules)) if whole and len(rules) > 1 else None
    return _write(given)


def _read(rule: str) -> Given:
    match = _RULE.fullmatch(rule)
    if match is None:
        raise BadInput(f"filter: {rule.strip()!r} isn't a key, an operator and a value")
    key, operator, value = match.groups()
    if key not in _KEYS:
        raise BadInput(f"filter: the key {key} isn't supported; these are: {', '.join(_KEYS)}")
    return _KEYS[key](key, operator, value)


def _write(given: Given) -> str | None:
    """Write a filter that is one rule's, by reading back what may be its text."""
    for text in _candidates(given):
        try:
            if filter_of_string(text) == given:
                return text
        except BadInput:
            continue
    return None


def _candidates(given: Given, negated: bool = False) -> list[str]:
    inner = given.get("not")
    if given.keys() == {"not"} and isinstance(inner, Mapping):
        return [] if negated else _candidates(inner, negated=True)
    value: Any = given
    while isinstance(value, Mapping | list) and value:
        value = next(iter(value.values())) if isinstance(value, Mapping) else value[0]
    if isinstance(value, datetime):
        times = (value, value - timedelta(seconds=value.year > 1))
        compare = ("!=",) if negated else ("=", ">=", "<", ">", "<=")
        return [f"killmail_time{one}{_text(time)}" for time in times for one in compare]
    text = str(value).lower() if isinstance(value, bool) else str(value)
    operators = ("!=", "<", ">") if negated else ("=", ">=", "<=")
    return [f"{key}{operator}{text}" for key in _KEYS for operator in operators]


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _only_equal(key: str, operator: str) -> None:
    if operator != "=":
        raise BadInput(f"filter: {key}{operator}: only = is supported for this key")


def _id(key: str, value: str) -> int:
    if not value.isascii() or not value.isdecimal():
        raise BadInput(f"filter: {key}: {value!r} isn't an id")
    return int(value)


def _anyone(key: str, operator: str, value: str) -> Given:
    _only_equal(key, operator)
    return {"anyone": {key: [_id(key, value)]}}


def _weapon(key: str, operator: str, value: str) -> Given:
    _only_equal(key, operator)
    return {"attacker": {key: [_id(key, value)]}}


def _listed(key: str, operator: str, value: str) -> Given:
    _only_equal(key, operator)
    return {key: [_id(key, value)]}


def _label(key: str, operator: str, value: str) -> Given:
    _only_equal(key, operator)
    return {"label": [value]}


def _system(key: str, operator: str, value: str) -> Given:
    here = {"location": {key: [_id(key, value)]}}
    if operator == "!=":
        return {"not": here}
    _only_equal(key, operator)
    return here


def _number(key: str, operator: str, value: str) -> Given:
    number = number_of(f"filter: {key}", value, whole=key == "attackerCount")
    if operator in _OPPOSITE:
        return {"not": _number(key, _OPPOSITE[operator], value)}
    ends = {"=": ("min", "max"), ">=": ("min",), "<=": ("max",)}[operator]
    return {f"{end}_{_NUMBERS[key]}": number for end in ends}


def _fact(key: str, operator: str, value: str) -> Given:
    if operator not in ("=", "!=") or value not in _TRUTHS:
        raise BadInput(f"filter: {key}{operator}{value}: must be {key}=true or {key}=false")
    return {key: _TRUTHS[value] == (operator == "=")}


def _time(key: str, operator: str, value: str) -> Given:
    try:
        time = datetime.fromisoformat(value) if _TIME.fullmatch(value) else None
    except ValueError:
        time = None
    if time is None:
        raise BadInput(f"filter: {key}: {value!r} isn't a time like 2026-01-01T12:00:00Z")
    try:
        next_ = time + timedelta(seconds=1)
    except OverflowError:
        raise BadInput(f"filter: {key}: {value!r} is out of range") from None
    ends = {
        ">=": {"since": time},
        ">": {"since": next_},
        "<": {"before": time},
        "<=": {"before": next_},
        "=": {"since": time, "before": next_},
    }
    if operator not in ends:
        return {"not": ends["="]}
    return ends[operator]


_KEYS: Final[dict[str, Write]] = {
    **dict.fromkeys(_ANYONE, _anyone),
    "weapon_type_id": _weapon,
    "solar_system_id": _system,
    "war_id": _listed,
    "item_type_id": _listed,
    **dict.fromkeys(_NUMBERS, _number),
    **dict.fromkeys(_FACTS, _fact),
    "labels": _label,
    "killmail_time": _time,
}
KEYS: Final = tuple(_KEYS)
"""The keys that are supported."""
