"""Searches of the gateway: pages of killmails that meet conditions."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from sqlalchemy import func, literal_column, select

from actors.shared.among import among
from actors.shared.finding.by_value import ValuePage, ValuePosition, find_by_value
from actors.shared.finding.complete import is_listed_by_universe, postings_are_complete
from actors.shared.finding.find import count, count_unknown, find
from actors.shared.finding.kinds import MAX_KILLMAIL_ID
from actors.shared.finding.plan import needs_universe
from actors.shared.finding.tree import EVERYTHING, And, Not, Tree, ValueUnknown
from actors.shared.finding.walk import BUDGET
from actors.shared.finding.windows import Read
from actors.shared.tables import KILLMAILS
from api.database import ReadDatabase
from api.filters.facts import UniverseUnknown
from api.reads import matching
from api.view import View

PAGE_BUDGET: Final = BUDGET
"""What the search for one page, or a count, may cost (see `find`)."""
MAX_COUNTED: Final = 500_000
"""Killmails that are counted without conditions; about 60 ms."""

T = TypeVar("T")
Start = int | ValuePosition
"""A place in a list: the id that comes next, or a place in the order of values."""
Starts = tuple[dict[int, Start], Start | None]
"""The place after each killmail, by its id, and that to which all was searched."""


@dataclass(frozen=True)
class Found:
    """A page of a search."""

    views: list[tuple[View, Start]]
    """The killmails in the order of the search, and the place after each in the list."""
    searched_to: Start | None
    """The place to which all was searched; None at the end."""
    complete: bool
    """Whether all stored killmails can be found."""


async def by_id(
    database: ReadDatabase,
    tree: Tree,
    start: int | None,
    limit: int,
    *,
    newest_first: bool = True,
    with_names: bool,
) -> Found:
    """Find the next killmails that meet conditions, by id, in one state of the database.

    A place is the next lower id, also where the oldest come first.

    Raises:
        UniverseUnknown: a condition needs the static universe, and none is loaded.
    """
    up = 0 if newest_first else 2

    async def search(read: Read) -> Starts:
        page = await find(
            read,
            tree,
            limit=limit,
            start=None if start is None else start + up,
            newest_first=newest_first,
            budget=PAGE_BUDGET,
        )
        to = page.searched_to
        return {id_: id_ - 1 for id_ in page.killmail_ids}, None if to is None else to - up

    return await _found(database, tree, search, with_names=with_names)


async def by_value(
    database: ReadDatabase,
    tree: Tree,
    start: ValuePosition | None,
    limit: int,
    *,
    highest_first: bool = True,
    with_names: bool,
) -> Found:
    """Find the next killmails that meet conditions, in the order of values or its reverse.

    Those of unknown value come last in the order. Raises like `by_id`.
    """
    page_of = _most_valuable if highest_first else _least_valuable

    async def search(read: Read) -> Starts:
        page = await page_of(read, tree, start, limit)
        return {one.killmail_id: one for one in page.found}, page.searched_to

    return await _found(database, tree, search, with_names=with_names)


async def total_count(database: ReadDatabase, tree: Tree) -> int | None:
    """Count the killmails that meet conditions.

    None where that would take too long, or not all can be found. Raises what a search raises.
    """
    if tree == EVERYTHING:
        some = select(literal_column("1")).select_from(KILLMAILS).limit(MAX_COUNTED + 1).subquery()
        total = await database.fetch_val(select(func.count()).select_from(some))
        return total if total <= MAX_COUNTED else None
    total, complete = await in_snapshot(
        database, tree, lambda read: count(read, tree, budget=PAGE_BUDGET)
    )
    return total if complete else None


async def unknown_values(database: ReadDatabase, tree: Tree, *, by_value: bool) -> int | None:
    """Count killmails of unknown value; see `count_unknown`. Raises what a search raises."""
    total, _ = await in_snapshot(
        database,
        tree,
        lambda read: count_unknown(read, tree, by_value=by_value, budget=PAGE_BUDGET),
    )
    return total


async def _most_valuable(
    read: Read, tree: Tree, start: ValuePosition | None, limit: int
) -> ValuePage:
    return await find_by_value(read, tree, limit=limit, start=start, budget=PAGE_BUDGET)


async def _least_valuable(
    read: Read, tree: Tree, start: ValuePosition | None, limit: int
) -> ValuePage:
    """Go through the same order from its end: unknown values, then from the lowest one."""
    found: list[ValuePosition] = []
    if start is None or start.total_value is None:
        page = await find(
            read,
            And((ValueUnknown(), tree)),
            limit=limit,
            start=None if start is None else start.killmail_id + 1,
            newest_first=False,
            budget=PAGE_BUDGET,
        )
        found = [ValuePosition(None, id_) for id_ in page.killmail_ids]
        if page.searched_to is not None:
            return ValuePage(found, ValuePosition(None, page.searched_to - 1))
        if len(found) == limit:
            return ValuePage(found, ValuePosition(None, MAX_KILLMAIL_ID + 1))
        start = None
    valued = await find_by_value(
        read,
        And((Not(ValueUnknown()), tree)),
        limit=limit - len(found),
        start=start,
        highest_first=False,
        budget=PAGE_BUDGET,
    )
    return ValuePage(found + valued.found, valued.searched_to)


async def _found(
    database: ReadDatabase,
    tree: Tree,
    search: Callable[[Read], Awaitable[Starts]],
    *,
    with_names: bool,
) -> Found:
    (starts, searched_to), complete = await in_snapshot(database, tree, search)
    views = []
    if starts:
        some = among(KILLMAILS.c.killmail_id, starts)
        views = await matching(database, some, len(starts), with_names=with_names)
    by_id = {view.entry.killmail_id: view for view in views}
    found = [(by_id[id_], start) for id_, start in starts.items() if id_ in by_id]
    return Found(found, searched_to, complete)


async def in_snapshot(
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
