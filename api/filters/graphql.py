"""The argument `filter` of GraphQL, as conditions of the finder."""

from actors.shared.finding.tree import Tree
from api.filters.bounds import Given, check_bounds
from api.filters.build import Built, Known, build
from api.filters.facts import Facts
from api.filters.groups import NO_GROUPS


async def tree_for(facts: Facts, given: Given) -> Tree:
    """Build the conditions; without any, all killmails meet them.

    Raises:
        BadInput: a value is out of its range, or the filter too large; the message has the place.
        UniverseUnknown: a condition needs the static universe, and none is loaded.
        DatabaseUnavailable: what a condition needs can't be read now.
    """
    return (await built_for(facts, given)).tree


async def built_for(facts: Facts, given: Given) -> Built:
    """Build the conditions, also each by itself; raises the same."""
    needs = check_bounds(given)
    groups = await facts.groups() if needs.universe else NO_GROUPS
    space = await facts.space() if needs.space else None
    terms = await facts.label_terms(needs.labels) if needs.labels else {}
    return build(given, Known(terms, groups, space))
