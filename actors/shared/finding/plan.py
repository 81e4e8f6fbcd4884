"""What a search needs to know of conditions before it begins. No I/O."""

from datetime import datetime

from actors.shared.finding.tree import And, Has, Not, OneAttacker, Or, Time, Tree, Value


def cost_of(tree: Tree) -> int:
    """Order conditions: those that read nothing first, those that may read most last."""
    match tree:
        case Value() | Time():
            return 0
        case Has():
            return 1
        case Not(child):
            return 1 + cost_of(child)
        case OneAttacker(fields):
            return 1 + len(fields)
    return 2 + sum(map(cost_of, tree.children))


def leads_of(tree: Tree) -> list[frozenset[int]]:
    """List sets of terms, of each of which all results have at least one."""
    match tree:
        case Has(term):
            return [frozenset({term})]
        case OneAttacker():
            return [frozenset({term}) for term in tree.terms()]
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
