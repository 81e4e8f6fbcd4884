"""Query: single killmails, lists by keyset cursor, and the feed."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from ariadne import QueryType

from actors.shared.finding.tree import EVERYTHING
from api import reads, search
from api.connection import MAX_FIRST, ById, ByTime, ByValue, Order, connect, paging_of
from api.context import Info
from api.entities import READS
from api.errors import BadInput
from api.filters.graphql import tree_for
from api.node import decode_id
from api.position import check_after
from api.view import View

MAX_ENTRIES: Final = 1_000

QUERY: Final = QueryType()


@QUERY.field("killmail")
async def resolve_killmail(_: None, info: Info, id: int) -> View | None:  # noqa: A002
    """Return one killmail, or None when it isn't stored."""
    return await _read_killmail(info, id)


@QUERY.field("killmails")
async def resolve_killmails(
    _: None,
    info: Info,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
    filter: dict[str, Any] | None = None,  # noqa: A002 # GraphQL's name
    order_by: str = "time",
) -> dict[str, Any]:
    """Return a page of killmails, newest or most valuable first."""
    paging = paging_of(first, after, last, before)
    database = info.context.state.database
    tree = await tree_for(info.context.state.facts, filter or {})
    by_value = order_by == "value"
    order: Order = ById(database, tree)
    if by_value:
        order = ByValue(database, tree)
    elif tree == EVERYTHING:
        order = ByTime(database)

    async def total_count(_: Info) -> int | None:
        return await search.total_count(database, tree)

    async def unknown_values(_: Info) -> int | None:
        return await search.unknown_values(database, tree, by_value=by_value)

    page = await connect(order, paging, with_names=reads_names(info))
    return page | {"totalCount": total_count, "unknownValues": unknown_values}


@QUERY.field("killmailsByIds")
async def resolve_killmails_by_ids(_: None, info: Info, ids: list[int]) -> list[View | None]:
    """Return killmails in the order of their ids; None for each that isn't stored."""
    if len(ids) > MAX_FIRST:
        raise BadInput(f"ids: at most {MAX_FIRST}, not {len(ids)}")
    database = info.context.state.database
    found = await reads.by_ids(database, ids, with_names=reads_names(info)) if ids else {}
    return [found.get(id_) for id_ in ids]


@QUERY.field("node")
async def resolve_node(_: None, info: Info, id: str) -> Any:  # noqa: A002
    """Return the object with a global id, or None."""
    of_type, number = decode_id(id)
    read = NODES.get(of_type)
    return await read(info, number) if read else None


async def _read_killmail(info: Info, number: int) -> View | None:
    database = info.context.state.database
    return await reads.killmail(database, number, with_names=reads_names(info))


NODES: Final[Mapping[str, Callable[[Info, int], Awaitable[Any]]]] = READS | {
    "Killmail": _read_killmail
}
"""How an object of each type is read by its own id."""


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
    """Return whether the document may select names: without the word in its text it doesn't."""
    location = info.field_nodes[0].loc
    return location is None or bool(_SAYS_NAME.search(location.source.body))


_SAYS_NAME: Final = re.compile(r"Name|\bname\b")
