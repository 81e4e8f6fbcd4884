"""Filters of the doors."""

from collections.abc import Collection

from starlette.requests import Request

from actors.shared.finding.normal import normal_form
from actors.shared.finding.subject import matches
from actors.shared.finding.tree import EVERYTHING, Tree
from api.doors.live import Wanted
from api.filters.facts import Facts
from api.filters.graphql import tree_for
from api.filters.redisq import filter_of_string
from api.filters.rest import filter_of_query
from api.view import FeedView, View


async def tree_of_query(facts: Facts, request: Request, own: Collection[str]) -> Tree:
    """Read the filter among a request's parameters, of which some are the door's own.

    Raises:
        BadInput: a parameter is wrong, or nobody's.
        UniverseUnknown: a condition needs the static universe, and none is loaded.
        DatabaseUnavailable: what a condition needs can't be read now.
    """
    given = [one for one in request.query_params.multi_items() if one[0] not in own]
    return await tree_for(facts, filter_of_query(given)) if given else EVERYTHING


async def tree_of_string(facts: Facts, text: str | None) -> Tree:
    """Read RedisQ's filter string; raises the same."""
    return await tree_for(facts, filter_of_string(text)) if text else EVERYTHING


def wanted_by(facts: Facts, tree: Tree) -> Wanted:
    """Return what tells whether an entry meets conditions; for an imported day that is True."""
    if tree == EVERYTHING:
        return _everything
    normal = normal_form(tree)

    def wanted(view: FeedView) -> bool:
        return not isinstance(view, View) or matches(normal, facts.subject(view))

    return wanted


def _everything(_: FeedView) -> bool:
    return True
