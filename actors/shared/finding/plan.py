"""What a search needs to know of conditions before it begins. No I/O.

The trees are those of `normal_form`.
"""

from dataclasses import replace
from datetime import datetime

from actors.shared.finding.kinds import ID_BITS, Kind
from actors.shared.finding.tree import (
    EVERYTHING,
    NOTHING,
    And,
    AttackerCount,
    Has,
    Not,
    OneAttacker,
    Or,
    Time,
    Tree,
    Value,
    ValueUnknown,
)


def cost_of(tree: Tree) -> int:
    """Order conditions: those that read nothing first, those that may read most last."""
    match tree:
        case Value() | ValueUnknown() | Time():
            return 0
        case Has():
            return 1
        case Not(child):
            return 1 + cost_of(child)
        case OneAttacker(fields):
            return 1 + len(fields)
        case AttackerCount():
            return 1 + sum(map(len, tree.terms()))
    return 2 + sum(map(cost_of, tree.children))


def leads_of(tree: Tree) -> list[frozenset[int]]:
    """List sets of terms, of each of which all results have at least one."""
    match tree:
        case Has(term):
            return [frozenset({term})]
        case OneAttacker():
            return [frozenset({term}) for term in tree.terms()]
        case AttackerCount():
            return [frozenset().union(*tree.terms())]
        case And(children):
            return [terms for child in children for terms in leads_of(child)]
        case Or(children):
            choices = [leads_of(child) for child in children]
            if all(choices):
                return [frozenset().union(*(min(sets, key=len) for sets in choices))]
    return []


def terms_in(tree: Tree) -> set[int]:
    """List the terms that conditions name."""
    match tree:
        case Has(term):
            return {term}
        case Not(child):
            return terms_in(child)
        case And(children) | Or(children):
            return set().union(*map(terms_in, children))
    return set()


def asks_for_one_attacker(tree: Tree) -> bool:
    """Tell whether a condition needs the attackers themselves."""
    match tree:
        case OneAttacker():
            return True
        case Not(child):
            return asks_for_one_attacker(child)
        case And(children) | Or(children):
            return any(map(asks_for_one_attacker, children))
    return False


def times_in(tree: Tree) -> set[datetime]:
    """List the times that conditions name."""
    match tree:
        case Time(since, until):
            return {time for time in (since, until) if time is not None}
        case Not(child):
            return times_in(child)
        case And(children) | Or(children):
            return set().union(*map(times_in, children))
    return set()


def values_in(tree: Tree) -> tuple[float | None, float | None]:
    """Return bounds between which the values of all results lie: at least, and below."""
    nodes = tree.children if isinstance(tree, And) else (tree,)
    lows = [node.low for node in nodes if isinstance(node, Value) and node.low is not None]
    highs = [node.high for node in nodes if isinstance(node, Value) and node.high is not None]
    return max(lows, default=None), min(highs, default=None)


def where_unknown(tree: Tree, *, supposed: bool) -> Tree:
    """Simplify conditions for killmails of unknown value.

    With `supposed`, conditions on values and labels are supposed to hold; else they don't.
    """
    match tree:
        case Value():
            return EVERYTHING if supposed else NOTHING
        case ValueUnknown():
            return EVERYTHING
        case Not(ValueUnknown()):
            return NOTHING
        case Has(term) if supposed and term >> ID_BITS == Kind.LABEL:
            return EVERYTHING
        case And(children) | Or(children):
            simplified = [where_unknown(child, supposed=supposed) for child in children]
            decides, neutral = (
                (NOTHING, EVERYTHING) if isinstance(tree, And) else (EVERYTHING, NOTHING)
            )
            if decides in simplified:
                return decides
            return replace(tree, children=tuple(one for one in simplified if one != neutral))
    return tree
