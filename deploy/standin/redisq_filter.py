"""RedisQ's filters: comparisons by key, of which all or any must be true.

Source: RedisQ's README and its filter code, as of 2026-03-19.
"""

import operator
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_RULE: Final = re.compile(r"([^!<>=]+)(!=|<=|>=|=|<|>)(.+)")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class InvalidFilter(Exception):
    """The text isn't a filter; the server answers 400."""


class Rule(NamedTuple):
    """One comparison, true when any value of the key fulfils it.

    So `!=` means that some value differs, not that all do.
    """

    key: str
    compare: str
    value: str


class Filter(NamedTuple):
    """Rules of which all must be true, or any."""

    rules: tuple[Rule, ...]
    any_of: bool

    def matches(self, package: Any) -> bool:
        """Return whether a package matches; searches the keys at every depth."""
        results = (_is_true(rule, package) for rule in self.rules)
        return any(results) if self.any_of else all(results)


def parse_filter(text: str) -> Filter:
    """Parse a filter: rules that are separated by ";" (all) or by "," (any), not by both.

    Raises:
        InvalidFilter: both separators, an empty rule, or a rule without key, operator or value.
    """
    any_of = "," in text
    if any_of and ";" in text:
        raise InvalidFilter("';' and ',' can't be mixed")
    rules = tuple(_parse_rule(part) for part in re.split("[;,]", text))
    return Filter(rules, any_of)


def _parse_rule(text: str) -> Rule:
    match = _RULE.fullmatch(text.strip())
    if match is None:
        raise InvalidFilter(f"not a rule: {text!r}")
    key, compare, value = (part.strip() for part in match.groups())
    if not (key and value):
        raise InvalidFilter(f"not a rule: {text!r}")
    return Rule(key, compare, value)


def _is_true(rule: Rule, package: Any) -> bool:
    return any(_compare(found, rule) for found in _values(rule.key, package))


def _values(key: str, node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        for name, child in node.items():
            if name == key:
                yield from _scalars(child)
            yield from _values(key, child)
    elif isinstance(node, list):
        for child in node:
            yield from _values(key, child)


def _scalars(node: Any) -> Iterator[Any]:
    if isinstance(node, list):
        for child in node:
            yield from _scalars(child)
    elif not isinstance(node, dict):
        yield node


def _compare(found: Any, rule: Rule) -> bool:
    compare = _OPERATORS[rule.compare]
    text = _text(found)
    if _NUMBER.fullmatch(text) and _NUMBER.fullmatch(rule.value):
        return compare(float(text), float(rule.value))
    return compare(text, rule.value)


def _text(found: Any) -> str:
    if found is None:
        return "null"
    if isinstance(found, bool):
        return "true" if found else "false"
    return str(found)
