"""Apply conditions to one killmail. No I/O."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from actors.shared.finding.terms import terms_of
from actors.shared.finding.tree import (
    And,
    AttackerCount,
    Has,
    HasAny,
    HasItem,
    InSystems,
    Not,
    OneAttacker,
    Or,
    Time,
    Tree,
    Value,
    ValueUnknown,
    ZkbNumber,
    ZkbUnknown,
)
from actors.shared.finding.universe import Universe
from actors.shared.killmail import Attacker, Item, Killmail
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
    solar_system_id: int = 0
    items: Sequence[Item] = ()
    zkb: Mapping[str, Any] | None = None
    """zKillboard's decoded block; None without one."""


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
        killmail.solar_system_id,
        killmail.victim.items or (),
        zkb,
    )


def matches(tree: Tree, subject: Subject) -> bool:
    """Apply a tree of `normal_form` to one killmail."""
    match tree:
        case And(children):
            return all(matches(child, subject) for child in children)
        case Or(children):
            return any(matches(child, subject) for child in children)
        case Not(child):
            return not matches(child, subject)
        case Has() | HasAny() | OneAttacker() | InSystems() | HasItem():
            return _holds(tree, subject)
    return _is_in_range(tree, subject)


def _holds(tree: Has | HasAny | OneAttacker | InSystems | HasItem, subject: Subject) -> bool:
    match tree:
        case Has(term):
            return term in subject.terms
        case HasAny(terms):
            return not terms.isdisjoint(subject.terms)
        case OneAttacker():
            return any(map(tree.is_met_by, subject.attackers))
        case InSystems(system_ids):
            return subject.solar_system_id in system_ids
        case HasItem(type_ids):
            return _hold(subject.items, type_ids)


def _is_in_range(
    tree: Value | ValueUnknown | ZkbNumber | ZkbUnknown | AttackerCount | Time, subject: Subject
) -> bool:
    match tree:
        case Value(low, high):
            value = subject.total_value
            return value is not None and _is_between(value, low, high)
        case ValueUnknown():
            return subject.total_value is None
        case ZkbNumber(field, low, high):
            number = _number_of(subject, field)
            return number is not None and _is_between(number, low, high)
        case ZkbUnknown(field):
            return _number_of(subject, field) is None
        case AttackerCount(low, high):
            return _is_between(subject.attacker_count, low, high)
        case Time(since, until):
            return _is_between(subject.killmail_time, since, until)


def _number_of(subject: Subject, field: str) -> float | None:
    return number_of(subject.zkb.get(field)) if subject.zkb else None


def _hold(items: Sequence[Item], type_ids: Collection[int]) -> bool:
    return any(one.item_type_id in type_ids or _hold(one.items or (), type_ids) for one in items)


def _is_between(value: Bound, low: Bound | None, high: Bound | None) -> bool:
    return (low is None or value >= low) and (high is None or value < high)
