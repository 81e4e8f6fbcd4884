"""Rewrite conditions as a search takes them. No I/O."""

from collections.abc import Iterable
from dataclasses import replace

from actors.shared.finding.kinds import ID_BITS, Kind
from actors.shared.finding.tree import (
    And,
    AttackerCount,
    Has,
    HasAny,
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


def normal_form(tree: Tree) -> Tree:
    """Rewrite a tree as a search takes it, and `subject.matches`: see `push_not_down`.

    Where the value is unknown, so are zKillboard's labels: that one is absent isn't known.
    """
    return _with_unknown_labels(push_not_down(tree))


def _with_unknown_labels(tree: Tree) -> Tree:
    match tree:
        case Not(Has(term)) if _is_label(term):
            return And((tree, Value()))
        case Not(HasAny(terms)) if any(map(_is_label, terms)):
            return And((tree, Value()))
        case And(children) | Or(children):
            return replace(tree, children=tuple(map(_with_unknown_labels, children)))
    return tree


def _is_label(term: int) -> bool:
    return term >> ID_BITS == Kind.LABEL


def push_not_down(tree: Tree, negated: bool = False) -> Tree:
    """Rewrite a tree so that `Not` stands above leaves only, and not above ranges.

    An unknown value meets neither a condition on values nor its negation, so that negation becomes
    a condition on values, too. A single condition on an attacker becomes terms of the killmail, and
    terms of which one suffices, or none may be there, become one leaf.
    """
    match tree:
        case OneAttacker((_,), False, ()) if tree.leads():
            (terms,) = tree.leads()
            return push_not_down(_any_of_terms(terms), negated)
        case Not(child):
            return push_not_down(child, not negated)
        case And(children) | Or(children):
            both = tuple(push_not_down(child, negated) for child in children)
            return _all_of(both) if isinstance(tree, And) != negated else _alternatives(both)
        case Value() | ZkbNumber() | Time() | AttackerCount() if negated:
            return outside(tree)
    return Not(tree) if negated else tree


def outside(tree: Value | ZkbNumber | Time | AttackerCount) -> Tree:
    """Return the condition that something known is outside of a range."""
    parts: list[Tree] = []
    match tree:
        case Value(low, high):
            parts += [Value(high=low)] if low is not None else []
            parts += [Value(low=high)] if high is not None else []
        case ZkbNumber(field, low, high):
            parts += [ZkbNumber(field, high=low)] if low is not None else []
            parts += [ZkbNumber(field, low=high)] if high is not None else []
        case Time(since, until):
            parts += [Time(until=since)] if since is not None else []
            parts += [Time(since=until)] if until is not None else []
        case AttackerCount(fewest, beyond):
            parts += [AttackerCount(0, fewest)] if fewest > 0 else []
            parts += [AttackerCount(beyond)] if beyond is not None else []
    return Or(tuple(parts))


def opposite(tree: Tree) -> Tree:
    """Negate a tree of `normal_form`; unlike `Not`, what is unknown meets the result."""
    match tree:
        case Not(child):
            return child
        case And(children):
            return Or(tuple(map(opposite, children)))
        case Or(children):
            return And(tuple(map(opposite, children)))
        case Value():
            return Or((outside(tree), ValueUnknown()))
        case ZkbNumber(field):
            return Or((outside(tree), ZkbUnknown(field)))
        case Time() | AttackerCount():
            return outside(tree)
    return Not(tree)


def _any_of_terms(terms: frozenset[int]) -> Tree:
    return Has(*terms) if len(terms) == 1 else HasAny(terms)


def _alternatives(children: tuple[Tree, ...]) -> Tree:
    """Combine by OR, in one node; terms are looked up together."""
    parts = [part for one in children for part in (one.children if isinstance(one, Or) else (one,))]
    any_of = _union(parts)
    if any_of is None:
        return Or(tuple(parts))
    others = tuple(one for one in parts if not isinstance(one, Has | HasAny))
    return Or((any_of, *others)) if others else any_of


def _all_of(children: tuple[Tree, ...]) -> Tree:
    """Combine by AND, in one node; terms that must be absent are looked up together."""
    parts = [
        part for one in children for part in (one.children if isinstance(one, And) else (one,))
    ]
    absent = _union([one.child for one in parts if isinstance(one, Not)])
    if absent is None:
        return And(tuple(parts))
    others = tuple(
        one for one in parts if not (isinstance(one, Not) and isinstance(one.child, Has | HasAny))
    )
    return And((*others, Not(absent))) if others else Not(absent)


def _union(children: Iterable[Tree]) -> HasAny | None:
    """Combine what are terms, if several are."""
    terms = [
        frozenset({one.term}) if isinstance(one, Has) else one.terms
        for one in children
        if isinstance(one, Has | HasAny)
    ]
    return HasAny(frozenset().union(*terms)) if len(terms) > 1 else None
