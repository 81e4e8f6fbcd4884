"""What may be asked of killmails: conditions, and their combination by AND, OR and NOT. No I/O."""

from dataclasses import dataclass, replace
from datetime import datetime
from itertools import zip_longest
from typing import Final, Literal

from actors.shared.finding.kinds import ATTACKER_COUNTS, ID_BITS, Kind, pair_of, term_of
from actors.shared.killmail import Attacker

AttackerField = Literal[
    "character_id",
    "corporation_id",
    "alliance_id",
    "faction_id",
    "ship_type_id",
    "weapon_type_id",
]
_KINDS: Final[dict[AttackerField, Kind]] = {
    "character_id": Kind.ATTACKER_CHARACTER,
    "corporation_id": Kind.ATTACKER_CORPORATION,
    "alliance_id": Kind.ATTACKER_ALLIANCE,
    "faction_id": Kind.ATTACKER_FACTION,
    "ship_type_id": Kind.ATTACKER_SHIP_TYPE,
    "weapon_type_id": Kind.ATTACKER_WEAPON_TYPE,
}
_PAIRS: Final[dict[AttackerField, Kind]] = {
    "corporation_id": Kind.CORPORATION_IN_SHIP,
    "alliance_id": Kind.ALLIANCE_IN_SHIP,
}


@dataclass(frozen=True)
class Has:
    """The killmail has a term."""

    term: int


@dataclass(frozen=True)
class OneAttacker:
    """One and the same attacker meets all conditions."""

    fields: tuple[tuple[AttackerField, int], ...]
    final_blow: bool = False
    """Whether it has to be the one that struck last."""

    def terms(self) -> frozenset[int]:
        """List terms that a killmail with such an attacker has.

        The term of a pair stands for both: whether it is the same attacker is seen in the body.
        """
        terms = {field: term_of(_KINDS[field], entity_id) for field, entity_id in self.fields}
        given = dict(self.fields)
        ship = given.get("ship_type_id")
        pairs = {
            name: pair_of(kind, given[name], ship)
            for name, kind in _PAIRS.items()
            if ship is not None and name in given
        }
        if pairs:
            del terms["ship_type_id"]
        return frozenset((terms | pairs).values())

    def is_met_by(self, attacker: Attacker) -> bool:
        """Tell whether this attacker meets all conditions."""
        return (attacker.final_blow or not self.final_blow) and all(
            getattr(attacker, field) == entity_id for field, entity_id in self.fields
        )


@dataclass(frozen=True)
class Value:
    """The total value is known, at least `low` and below `high`."""

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ValueUnknown:
    """The total value is unknown, and with it zKillboard's labels."""


@dataclass(frozen=True)
class AttackerCount:
    """There are `low` attackers or more, and fewer than `high`."""

    low: int = 0
    high: int | None = None

    def terms(self) -> tuple[frozenset[int], frozenset[int]]:
        """List the terms of which such a killmail has one: those that suffice, and the others."""
        suffice: set[int] = set()
        others: set[int] = set()
        for least, beyond in zip_longest(ATTACKER_COUNTS, ATTACKER_COUNTS[1:]):
            if (self.high is not None and least >= self.high) or (
                beyond is not None and beyond <= self.low
            ):
                continue
            is_inside = least >= self.low and (
                self.high is None or (beyond is not None and beyond <= self.high)
            )
            (suffice if is_inside else others).add(term_of(Kind.ATTACKER_COUNT, least))
        return frozenset(suffice), frozenset(others)


@dataclass(frozen=True)
class Time:
    """The time of the kill is `since` or later and before `until`."""

    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class And:
    """All of these hold; true without any."""

    children: tuple["Tree", ...] = ()


@dataclass(frozen=True)
class Or:
    """At least one of these holds; false without any."""

    children: tuple["Tree", ...] = ()


@dataclass(frozen=True)
class Not:
    """This doesn't hold, and it is known that it doesn't."""

    child: "Tree"


Tree = Has | OneAttacker | AttackerCount | Value | ValueUnknown | Time | And | Or | Not
EVERYTHING: Final = And()
NOTHING: Final = Or()


def normal_form(tree: Tree) -> Tree:
    """Rewrite a tree as a search takes it, and `subject.matches`: see `push_not_down`.

    Where the value is unknown, so are zKillboard's labels: that one is absent isn't known.
    """
    return _with_unknown_labels(push_not_down(tree))


def _with_unknown_labels(tree: Tree) -> Tree:
    match tree:
        case Not(Has(term)) if term >> ID_BITS == Kind.LABEL:
            return And((tree, Value()))
        case And(children) | Or(children):
            return replace(tree, children=tuple(map(_with_unknown_labels, children)))
    return tree


def push_not_down(tree: Tree, negated: bool = False) -> Tree:
    """Rewrite a tree so that `Not` stands above `Has`, `OneAttacker` and `ValueUnknown` only.

    An unknown value meets neither a condition on values nor its negation, so that negation becomes
    a condition on values, too. A single condition on an attacker becomes a term of the killmail.
    """
    match tree:
        case OneAttacker((_,), False):
            return push_not_down(Has(*tree.terms()), negated)
        case Not(child):
            return push_not_down(child, not negated)
        case And(children) | Or(children):
            both = tuple(push_not_down(child, negated) for child in children)
            return And(both) if isinstance(tree, And) != negated else Or(both)
        case Value(low, high) if negated:
            below = (Value(high=low),) if low is not None else ()
            above = (Value(low=high),) if high is not None else ()
            return Or(below + above)
        case Time(since, until) if negated:
            before = (Time(until=since),) if since is not None else ()
            after = (Time(since=until),) if until is not None else ()
            return Or(before + after)
        case AttackerCount(low, high) if negated:
            fewer = (AttackerCount(0, low),) if low > 0 else ()
            more = (AttackerCount(high),) if high is not None else ()
            return Or(fewer + more)
    return Not(tree) if negated else tree
