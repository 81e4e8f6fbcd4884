"""Query: single killmails, lists by keyset cursor, and the feed."""

from typing import Any, Final

from ariadne import QueryType

from actors.shared.finding.tree import EVERYTHING, Tree
from api import reads, search
from api.context import Info
from api.cursors import decode_cursor, decode_start, decode_value, encode_cursor, encode_start
from api.errors import BadInput
from api.filters.graphql import tree_for
from api.position import check_after
from api.view import View

MAX_KILLMAILS: Final = 200
MAX_ENTRIES: Final = 1_000

QUERY: Final = QueryType()


@QUERY.field("killmail")
async def resolve_killmail(_: None, info: Info, id: int) -> View | None:  # noqa: A002
    """Return one killmail, or None when it isn't stored."""
    return await reads.killmail(info.context.state.database, id, with_names=reads_names(info))


@QUERY.field("killmails")
async def resolve_killmails(
    _: None,
    info: Info,
    first: int,
    after: str | None = None,
    filter: dict[str, Any] | None = None,  # noqa: A002 # GraphQL's name
    order_by: str = "time",
) -> dict[str, Any]:
    """Return a page of killmails, newest or most valuable first."""
    _check("first", first, MAX_KILLMAILS)
    tree = await tree_for(info.context.state.facts, filter or {})
    if tree != EVERYTHING or order_by == "value":
        return await _matching(info, tree, first, after, order_by)
    position = decode_cursor(after) if after is not None else None
    views = await reads.newest(
        info.context.state.database, position, first + 1, with_names=reads_names(info)
    )
    page = views[:first]
    return {
        "nodes": page,
        "edges": [{"cursor": encode_cursor(view), "node": view} for view in page],
        "pageInfo": {
            "hasNextPage": len(views) > first,
            "endCursor": encode_cursor(page[-1]) if page else None,
        },
        "complete": True,
        "unknownValues": 0,
    }


async def _matching(
    info: Info, tree: Tree, first: int, after: str | None, order_by: str
) -> dict[str, Any]:
    database, with_names = info.context.state.database, reads_names(info)
    if order_by == "value":
        after_value = decode_value(after) if after is not None else None
        page = await search.most_valuable(database, tree, after_value, first, with_names=with_names)
    else:
        start = decode_start(after) if after is not None else None
        page = await search.newest_matching(database, tree, start, first, with_names=with_names)

    async def unknown_values(_: Info) -> int | None:
        return await search.unknown_values(database, tree, by_value=order_by == "value")

    to = page.searched_to
    return {
        "nodes": [view for view, _ in page.views],
        "edges": [{"cursor": encode_start(start), "node": view} for view, start in page.views],
        "pageInfo": {
            "hasNextPage": to is not None,
            "endCursor": None if to is None else encode_start(to),
        },
        "complete": page.complete,
        "unknownValues": unknown_values,
    }


@QUERY.field("feed")
async def resolve_feed(_: None, info: Info, after: int, first: int) -> dict[str, Any]:
    """Return the feed's entries after a sequence."""
    _check("first", first, MAX_ENTRIES)
    await check_after(info.context.state, after)
    database = info.context.state.database
    last = await reads.last_sequence(database)
    entries = await reads.feed_page(
        database, after, first, up_to=last, with_names=reads_names(info)
    )
    return {"entries": entries, "lastSequence": last}


def _check(name: str, value: int, limit: int) -> None:
    if not 1 <= value <= limit:
        raise BadInput(f"{name}: must be 1 to {limit}, not {value}")


def reads_names(info: Info) -> bool:
    """Return whether the document may select names: without `Name` in its text it doesn't."""
    location = info.field_nodes[0].loc
    return location is None or "Name" in location.source.body
