"""Apply conditions to one killmail. No I/O."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from actors.shared.finding.terms import terms_of
from actors.shared.finding.tree import (
    And,
    AttackerCount,
    Has,
    Not,
    OneAttacker,
    Time,
    Tree,
    Value,
    ValueUnknown,
)
from actors.shared.finding.universe import Universe
from actors.shared.killmail import Attacker, Killmail
from actors.shared.zkb import number_of

Bound = TypeVar("Bound", int, float, datetime)


@dataclass(frozen=True)
class Subject:
    """A killmail to which a tree is applied."""

    killmail_time: datetime
    total_value: float | None
    """None when it is unknown."""
    attacker_count: int
    attackers: Sequence[Attacker]
    terms: Collection[int]


def subject_of(
    killmail: Killmail,
    zkb: Mapping[str, Any] | None,
    label_ids: Collection[int],
    universe: Universe,
) -> Subject:
    """Make the subject of a killmail.

    Args:
        killmail: The parsed body.
        zkb: zKillboard's decoded block; None without one.
        label_ids: The numbers of its labels.
        universe: What terms of places and groups are derived from.
    """
    return Subject(
        killmail.killmail_time,
        number_of(zkb.get("totalValue")) if zkb else None,
        len(killmail.attackers),
        killmail.attackers,
        terms_of(killmail, label_ids, universe),
    )


def matches(tree: Tree, subject: Subject) -> bool:
    """Apply a tree of `normal_form` to one killmail."""
    match tree:
        case Has(term):
            return term in subject.terms
        case OneAttacker():
            return any(map(tree.is_met_by, subject.attackers))
        case Value(low, high):
            value = subject.total_value
            return value is not None and _is_between(value, low, high)
        case ValueUnknown():
            return subject.total_value is None
        case AttackerCount(low, high):
            return _is_between(subject.attacker_count, low, high)
        case Time(since, until):
            return _is_between(subject.killmail_time, since, until)
        case Not(child):
            return not matches(child, subject)
    combine: Callable[..., bool] = all if isinstance(tree, And) else any
    return combine(matches(child, subject) for child in tree.children)


def _is_between(value: Bound, low: Bound | None, high: Bound | None) -> bool:
    return (low is None or value >= low) and (high is None or value < high)
