"""Searches of the gateway: pages of killmails that meet conditions."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from actors.shared.among import among
from actors.shared.finding.by_value import ValuePosition, find_by_value
from actors.shared.finding.complete import is_listed_by_universe, postings_are_complete
from actors.shared.finding.find import count_unknown, find
from actors.shared.finding.plan import needs_universe
from actors.shared.finding.tree import Tree
from actors.shared.finding.walk import BUDGET
from actors.shared.finding.windows import Read
from actors.shared.tables import KILLMAILS
from api.database import ReadDatabase
from api.filters.facts import UniverseUnknown
from api.reads import matching
from api.view import View

PAGE_BUDGET: Final = BUDGET
"""What the search for one page, or a count, may cost (see `find`)."""

T = TypeVar("T")
Start = int | ValuePosition
"""An id, or a place in the order of values."""
Starts = tuple[dict[int, Start], Start | None]
"""Where the next page begins after each killmail, by its id, and after all that was searched."""


@dataclass(frozen=True)
class Found:
    """A page of a search."""

    views: list[tuple[View, Start]]
    """The killmails, and where the next page begins after each."""
    searched_to: Start | None
    """Where the next page begins; None at the end."""
    complete: bool
    """Whether all stored killmails can be found."""


async def newest_matching(
    database: ReadDatabase, tree: Tree, start: int | None, limit: int, *, with_names: bool
) -> Found:
    """Find the next killmails that meet conditions, newest first, in one state of the database.

    Raises:
        UniverseUnknown: a condition needs the static universe, and none is loaded.
    """
    return await _found(
        database,
        tree,
        lambda read: _by_id(read, tree, start, limit),
        with_names=with_names,
    )


async def most_valuable(
    database: ReadDatabase, tree: Tree, start: ValuePosition | None, limit: int, *, with_names: bool
) -> Found:
    """Find the next killmails that meet conditions, the most valuable first; see above."""
    return await _found(
        database,
        tree,
        lambda read: _by_value(read, tree, start, limit),
        with_names=with_names,
    )


async def unknown_values(database: ReadDatabase, tree: Tree, *, by_value: bool) -> int | None:
    """Count killmails of unknown value; see `count_unknown`. Raises what a search raises."""
    total, _ = await _in_snapshot(
        database,
        tree,
        lambda read: count_unknown(read, tree, by_value=by_value, budget=PAGE_BUDGET),
    )
    return total


async def _by_id(read: Read, tree: Tree, start: int | None, limit: int) -> Starts:
    page = await find(read, tree, limit=limit, start=start, budget=PAGE_BUDGET)
    return {id_: id_ - 1 for id_ in page.killmail_ids}, page.searched_to


async def _by_value(read: Read, tree: Tree, start: ValuePosition | None, limit: int) -> Starts:
    page = await find_by_value(read, tree, limit=limit, start=start, budget=PAGE_BUDGET)
    return {one.killmail_id: one for one in page.found}, page.searched_to


async def _found(
    database: ReadDatabase,
    tree: Tree,
    search: Callable[[Read], Awaitable[Starts]],
    *,
    with_names: bool,
) -> Found:
    (starts, searched_to), complete = await _in_snapshot(database, tree, search)
    views = []
    if starts:
        some = among(KILLMAILS.c.killmail_id, starts)
        views = await matching(database, some, len(starts), with_names=with_names)
    by_id = {view.entry.killmail_id: view for view in views}
    found = [(by_id[id_], start) for id_, start in starts.items() if id_ in by_id]
    return Found(found, searched_to, complete)


async def _in_snapshot(
    database: ReadDatabase, tree: Tree, search: Callable[[Read], Awaitable[T]]
) -> tuple[T, bool]:
    """Search in one state of the database; also tell whether all killmails can be found."""
    by_universe = needs_universe(tree)

    async def reads(read: Read) -> tuple[T, bool]:
        listed = await is_listed_by_universe(read) if by_universe else True
        if listed is None:
            raise UniverseUnknown
        return await search(read), listed and await postings_are_complete(read)

    return await database.in_snapshot(reads)
