"""What a search needs to know of conditions before it begins. No I/O.

The trees are those of `normal_form`.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final

from actors.shared.finding.kinds import ID_BITS, OF_UNIVERSE
from actors.shared.finding.normal import normal_form, opposite
from actors.shared.finding.tree import (
    EVERYTHING,
    NOTHING,
    And,
    AttackerCount,
    Has,
    HasAny,
    HasItem,
    InSystems,
    Leaf,
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

TERMS_IN_ONE: Final = 10
"""Terms that are looked up together count as one of so many."""


def cost_of(tree: Tree) -> int:
    """Order conditions: those that read nothing first, those that may read most last."""
    match tree:
        case Has():
            return 1
        case HasAny(terms):
            return 1 + len(terms) // TERMS_IN_ONE
        case Not(child):
            return 1 + cost_of(child)
        case OneAttacker():
            return 1 + len(tree.leads())
        case InSystems(_, through):
            return 1 + len(through) // TERMS_IN_ONE
        case AttackerCount():
            return 1 + sum(map(len, tree.terms()))
        case And(children) | Or(children):
            return 2 + sum(map(cost_of, children))
    return 0


def leads_of(tree: Tree) -> list[frozenset[int]]:
    """List sets of terms, of each of which all results have at least one."""
    match tree:
        case And(children):
            return [terms for child in children for terms in leads_of(child)]
        case Or(children):
            choices = [leads_of(child) for child in children]
            if all(choices):
                return [frozenset().union(*(min(sets, key=len) for sets in choices))]
            return []
    return [] if isinstance(tree, Not) else _leads_of_leaf(tree)


def _leads_of_leaf(leaf: Leaf) -> list[frozenset[int]]:
    match leaf:
        case Has(term):
            return [frozenset({term})]
        case HasAny(terms):
            return [terms]
        case OneAttacker():
            return leaf.leads()
        case InSystems(_, through) if through:
            return [through]
        case AttackerCount():
            return [frozenset().union(*leaf.terms())]
    return []


def leaves_of(tree: Tree) -> Iterator[Leaf]:
    """Yield the conditions, whether they are negated or not."""
    match tree:
        case Not(child):
            yield from leaves_of(child)
        case And(children) | Or(children):
            for child in children:
                yield from leaves_of(child)
        case _:
            yield tree


def terms_in(tree: Tree) -> set[int]:
    """List the terms that conditions name."""
    terms: set[int] = set()
    for leaf in leaves_of(tree):
        if isinstance(leaf, Has):
            terms.add(leaf.term)
        elif isinstance(leaf, HasAny):
            terms |= leaf.terms
    return terms


def needs_universe(tree: Tree) -> bool:
    """Tell whether killmails are found by terms that follow from the static universe."""
    through: set[int] = set()
    for leaf in leaves_of(tree):
        if isinstance(leaf, InSystems):
            through |= leaf.through
        elif isinstance(leaf, OneAttacker):
            through = through.union(*leaf.through)
    return any(term >> ID_BITS in OF_UNIVERSE for term in terms_in(tree) | through)


def reads_body(tree: Tree) -> bool:
    """Tell whether a condition needs the attackers or the items themselves."""
    return any(isinstance(leaf, OneAttacker | HasItem) for leaf in leaves_of(tree))


def reads_items(tree: Tree) -> bool:
    """Tell whether a condition needs the items."""
    return any(isinstance(leaf, HasItem) for leaf in leaves_of(tree))


def reads_zkb(tree: Tree) -> bool:
    """Tell whether a condition needs zKillboard's block."""
    return any(isinstance(leaf, ZkbNumber | ZkbUnknown) for leaf in leaves_of(tree))


def times_in(tree: Tree) -> set[datetime]:
    """List the times that conditions name."""
    times = [
        time
        for leaf in leaves_of(tree)
        if isinstance(leaf, Time)
        for time in (leaf.since, leaf.until)
    ]
    return {time for time in times if time is not None}


def values_in(tree: Tree) -> tuple[float | None, float | None]:
    """Return bounds between which the values of all results lie: at least, and below."""
    nodes = tree.children if isinstance(tree, And) else (tree,)
    lows = [node.low for node in nodes if isinstance(node, Value) and node.low is not None]
    highs = [node.high for node in nodes if isinstance(node, Value) and node.high is not None]
    return max(lows, default=None), min(highs, default=None)


def undecided(tree: Tree, *, or_without_value: bool = False) -> Tree:
    """Build the condition that it is unknown whether conditions hold.

    With `or_without_value`, killmails of unknown value of which they hold meet it, too.
    """
    holds = normal_form(tree)
    may_hold = opposite(normal_form(Not(tree)))
    if not reads_zkb(holds):
        possible = where_unknown(may_hold)
        certain = NOTHING if or_without_value else where_unknown(holds)
        if possible in (NOTHING, certain):
            return NOTHING
        unless = () if certain == NOTHING else (opposite(certain),)
        return And((ValueUnknown(), possible, *unless))
    if or_without_value:
        return And((may_hold, Or((ValueUnknown(), opposite(holds)))))
    return And((may_hold, opposite(holds)))


def where_unknown(tree: Tree) -> Tree:
    """Simplify conditions for killmails of unknown value."""
    match tree:
        case Value():
            return NOTHING
        case ValueUnknown():
            return EVERYTHING
        case Not(ValueUnknown()):
            return NOTHING
        case And(children) | Or(children):
            simplified = list(map(where_unknown, children))
            decides, neutral = (
                (NOTHING, EVERYTHING) if isinstance(tree, And) else (EVERYTHING, NOTHING)
            )
            if decides in simplified:
                return decides
            return replace(tree, children=tuple(one for one in simplified if one != neutral))
    return tree
