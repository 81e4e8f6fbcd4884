"""Say which conditions of a filter a killmail meets."""

from typing import Any, Final

from ariadne import QueryType

from actors.shared.finding.normal import normal_form
from actors.shared.finding.subject import Subject, matches
from actors.shared.finding.tree import Not, Tree
from api import reads
from api.context import Info
from api.filters.graphql import built_for

EXPLAIN: Final = QueryType()


@EXPLAIN.field("explain")
async def resolve_explain(
    _: None,
    info: Info,
    killmail_id: int,
    filter: dict[str, Any],  # noqa: A002 # GraphQL's name
) -> dict[str, Any] | None:
    """Return which conditions a stored killmail meets, or None when it isn't stored."""
    state = info.context.state
    built = await built_for(state.facts, filter)
    view = await reads.killmail(state.database, killmail_id, with_names=False)
    if view is None:
        return None
    subject = state.facts.subject(view)
    return {
        "matches": meets(built.tree, subject),
        "conditions": [
            {"path": path, "met": meets(tree, subject)} for path, tree in built.conditions
        ],
    }


def meets(tree: Tree, subject: Subject) -> bool | None:
    """Tell whether a killmail meets conditions; None when that is unknown."""
    if matches(normal_form(tree), subject):
        return True
    return False if matches(normal_form(Not(tree)), subject) else None
