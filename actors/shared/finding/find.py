"""Walk through the windows of killmail ids, newest or oldest first, until a page is full.

The rarest term that all results have leads: its windows are read one after another, and what else
is asked is looked up for the killmails that they list.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from sqlalchemy import func, select

from actors.shared.finding.kinds import WINDOW_BITS, code_of
from actors.shared.finding.normal import normal_form
from actors.shared.finding.plan import leads_of, undecided
from actors.shared.finding.stored import ROW_COST
from actors.shared.finding.tree import NOTHING, Has, Tree
from actors.shared.finding.walk import BUDGET, ROWS, Step, Walk, begin, step_of
from actors.shared.finding.windows import Read, next_windows
from actors.shared.tables import KILLMAILS, POSTINGS

FIRST_WINDOWS: Final = 8
MAX_WINDOWS: Final = 512


@dataclass(frozen=True)
class Page:
    """Killmails that were found, in order."""

    killmail_ids: list[int]
    searched_to: int | None
    """The id at which the next page begins, and that isn't searched yet; None at the end."""
    is_full: bool
    """False when the budget was spent, or the end was reached, before the page was full."""


async def find(
    read: Read,
    tree: Tree,
    *,
    limit: int,
    start: int | None = None,
    newest_first: bool = True,
    budget: int = BUDGET,
) -> Page:
    """Find the next killmails that match.

    Args:
        read: runs a query. All queries of a page should see the same state of the database.
        tree: what is asked.
        limit: how many at most.
        start: `searched_to` of the page before; None for the first page.
        newest_first: the order, by id; killmails of one day may be in another order by time.
        budget: postings that may be read before the page ends unfilled.
    """
    walk = await begin(read, normal_form(tree))
    return await search(walk, limit, start, newest_first=newest_first, budget=budget)


async def search(
    walk: Walk, limit: int, start: int | None, *, newest_first: bool, budget: int
) -> Page:
    """Do what `find` does, with a search that has begun."""
    low, high = walk.time_range()
    if start is not None:
        low, high = (low, min(high, start + 1)) if newest_first else (max(low, start), high)
    leads, step = await _choose_leads(walk, low, high, newest_first)
    found: list[int] = []
    windows = FIRST_WINDOWS
    while low < high:
        if step is None:
            step = await _next_step(walk, leads, low, high, windows, newest_first)
            windows = min(windows * 8, MAX_WINDOWS)
        certain, possible = await walk.judge(step)
        ids, stopped_at = await walk.first_of(
            step.ids[possible], certain[possible], limit - len(found), budget
        )
        found += ids
        if stopped_at is not None:
            low, high = (low, stopped_at) if newest_first else (stopped_at + 1, high)
        else:
            low, high = (low, step.low) if newest_first else (step.high, high)
        if low < high and (len(found) == limit or walk.spent >= budget):
            return Page(found, high - 1 if newest_first else low, len(found) == limit)
        step = None
    return Page(found, None, len(found) == limit)


async def count(read: Read, tree: Tree, *, budget: int = BUDGET) -> int | None:
    """Count the killmails that match; None when that would cost more than the budget."""
    return await _count(read, normal_form(tree), budget)


async def count_unknown(
    read: Read, tree: Tree, *, by_value: bool = False, budget: int = BUDGET
) -> int | None:
    """Count the killmails that might match, if their values and labels were known.

    With `by_value` also those that do match, and come last in the order of values. None when it
    would cost more than the budget.
    """
    asked = undecided(tree, or_without_value=by_value)
    return 0 if asked == NOTHING else await _count(read, asked, budget)


async def _count(read: Read, asked: Tree, budget: int) -> int | None:
    if isinstance(asked, Has):
        first = asked.term << WINDOW_BITS
        of_term = POSTINGS.c.key.between(first, first + (1 << WINDOW_BITS) - 1)
        query = select(func.sum(func.length(POSTINGS.c.worths)).label("total")).where(of_term)
        (row,) = await read(query)
        return row.total or 0
    walk = await begin(read, asked)
    page = await search(walk, budget, None, newest_first=True, budget=budget)
    return len(page.killmail_ids) if page.searched_to is None else None


async def _choose_leads(
    walk: Walk, low: int, high: int, newest_first: bool
) -> tuple[frozenset[int] | None, Step | None]:
    """Choose terms of which each result has one, the rarest; None if there are none.

    What was read to choose them is the first step.
    """
    choices = leads_of(walk.tree)
    if len(choices) < 2 or low >= high:
        return (choices[0] if choices else None), None
    terms = frozenset().union(*choices)
    listed = await next_windows(
        walk.read, terms, low, high, FIRST_WINDOWS, newest_first=newest_first
    )
    walk.spent += listed.postings
    leads = min(choices, key=lambda terms: sum(len(listed.by_term[t][0]) for t in terms))
    return leads, _in_order(step_of(listed, leads), newest_first)


async def _next_step(
    walk: Walk,
    leads: frozenset[int] | None,
    low: int,
    high: int,
    windows: int,
    newest_first: bool,
) -> Step:
    """Read what may match, from the end of the ids at which the page goes on."""
    if leads is None:
        return await _step_through_all(walk, low, high, newest_first)
    listed = await next_windows(walk.read, leads, low, high, windows, newest_first=newest_first)
    walk.spent += listed.postings
    return _in_order(step_of(listed, leads), newest_first)


def _in_order(step: Step, newest_first: bool) -> Step:
    if not newest_first:
        return step
    return Step(step.low, step.high, step.ids[::-1], step.codes[::-1], step.known)


async def _step_through_all(walk: Walk, low: int, high: int, newest_first: bool) -> Step:
    column = KILLMAILS.c.killmail_id
    rows = await walk.read(
        select(column, KILLMAILS.c.total_value)
        .where(column >= low, column < high)
        .order_by(column.desc() if newest_first else column)
        .limit(ROWS)
    )
    walk.spent += ROW_COST * len(rows)
    ids = np.array([row.killmail_id for row in rows], np.int64)
    codes = np.array([code_of(row.total_value) for row in rows], np.uint8)
    if len(rows) == ROWS:
        low, high = (int(ids[-1]), high) if newest_first else (low, int(ids[-1]) + 1)
    return Step(low, high, ids, codes, {})
