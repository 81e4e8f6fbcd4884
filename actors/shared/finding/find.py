"""Walk through the windows of killmail ids until a page is full.

The rarest term that all results have leads: its windows are read one after another, and what else
is asked is looked up for the killmails that they list. What postings can't decide, as whether one
and the same attacker meets several conditions, is looked up in the body.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import CompoundSelect, Select, func, select

from actors.shared.body import parse_stored
from actors.shared.dictionaries import learn_dictionaries
from actors.shared.finding.kinds import (
    ID_BITS,
    MAX_KILLMAIL_ID,
    OF_UNIVERSE,
    WINDOW_BITS,
    Kind,
    code_of,
)
from actors.shared.finding.plan import cost_of, leads_of, terms_in, times_in
from actors.shared.finding.terms import terms_of
from actors.shared.finding.tree import (
    And,
    Has,
    Not,
    OneAttacker,
    Subject,
    Time,
    Tree,
    Value,
    matches,
    push_not_down,
)
from actors.shared.finding.windows import Codes, Ids, Read, is_among, next_windows, which_have
from actors.shared.tables import KILLMAIL_DAYS, KILLMAILS, POSTINGS

FIRST_WINDOWS: Final = 8
MAX_WINDOWS: Final = 512
BUDGET: Final = 1_000_000
"""Postings that one page may read; about 60 ms."""
QUERY_COST: Final = 10_000
"""What a query counts, in postings."""
BODY_COST: Final = 1_000
"""What the reading and parsing of a body counts, in postings."""
ROW_COST: Final = 50
"""What a row counts where no term leads, in postings."""
ROWS: Final = 500
"""Killmails that are read at once where no term leads."""
BODIES: Final = 50
"""Bodies that are read at once."""

Mask = NDArray[np.bool_]
Judgement = tuple[Mask, Mask]
"""Which killmails certainly meet a condition, and which possibly."""


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
    asked = push_not_down(tree)
    walk = _Walk(read, asked, newest_first, await _bounds_of_days(read, asked))
    low, high = walk.time_range(asked)
    if start is not None:
        low, high = (low, min(high, start + 1)) if newest_first else (max(low, start), high)
    leads = await walk.choose_leads(low, high)
    found: list[int] = []
    windows = FIRST_WINDOWS
    first = True
    while low < high:
        if len(found) == limit or (walk.spent >= budget and not first):  # each page gets further
            return Page(found, high - 1 if newest_first else low, len(found) == limit)
        step = await walk.step(leads, low, high, windows)
        windows, first = min(windows * 4, MAX_WINDOWS), False
        ids, stopped_at = await walk.select(step, limit - len(found), budget)
        found += ids
        if stopped_at is not None:
            low, high = (low, stopped_at) if newest_first else (stopped_at + 1, high)
        else:
            low, high = (low, step.low) if newest_first else (step.high, high)
    return Page(found, None, len(found) == limit)


async def count(read: Read, tree: Tree, *, budget: int = BUDGET) -> int | None:
    """Count the killmails that match; None when that would cost more than the budget."""
    asked = push_not_down(tree)
    if isinstance(asked, Has):
        first = asked.term << WINDOW_BITS
        of_term = POSTINGS.c.key.between(first, first + (1 << WINDOW_BITS) - 1)
        query = select(func.sum(func.length(POSTINGS.c.worths)).label("total")).where(of_term)
        (row,) = await read(query)
        return row.total or 0
    page = await find(read, tree, limit=budget, budget=budget)
    return len(page.killmail_ids) if page.searched_to is None else None


@dataclass(frozen=True)
class _Step:
    """Killmails that may match, between two ids; in the order of the page."""

    low: int
    high: int
    ids: Ids
    codes: Codes
    known: dict[int, Ids]
    """What terms list between these ids, as far as it was read."""

    def take(self, chosen: Mask) -> "_Step":
        return _Step(self.low, self.high, self.ids[chosen], self.codes[chosen], self.known)


@dataclass
class _Walk:
    reader: Read
    tree: Tree
    newest_first: bool
    days: dict[date, tuple[int, int]]
    """For a day: the lowest id from that day on, and the highest one up to that day."""
    spent: int = 0

    async def read(self, query: Select[Any] | CompoundSelect[Any]) -> Sequence[Any]:
        self.spent += QUERY_COST
        return await self.reader(query)

    async def choose_leads(self, low: int, high: int) -> frozenset[int] | None:
        """Choose terms of which each result has one, the rarest; None if there are none."""
        choices = leads_of(self.tree)
        if len(choices) < 2 or low >= high:
            return choices[0] if choices else None
        terms = frozenset().union(*choices)
        listed = await next_windows(
            self.read, terms, low, high, FIRST_WINDOWS, newest_first=self.newest_first
        )
        self.spent += listed.postings
        return min(choices, key=lambda terms: sum(len(listed.by_term[t][0]) for t in terms))

    async def step(self, leads: frozenset[int] | None, low: int, high: int, windows: int) -> _Step:
        """Read what may match, from the end of the ids at which the page goes on."""
        if leads is None:
            return await self._step_through_all(low, high)
        listed = await next_windows(
            self.read, leads, low, high, windows, newest_first=self.newest_first
        )
        self.spent += listed.postings
        ids = np.concatenate([ids for ids, _ in listed.by_term.values()] or [_NO_IDS])
        codes = np.concatenate([codes for _, codes in listed.by_term.values()] or [_NO_CODES])
        ids, first = np.unique(ids, return_index=True)
        known = {term: ids for term, (ids, _) in listed.by_term.items()}
        step = _Step(listed.low, listed.high, ids, codes[first], known)
        if self.newest_first:
            return _Step(step.low, step.high, step.ids[::-1], step.codes[::-1], known)
        return step

    async def _step_through_all(self, low: int, high: int) -> _Step:
        column = KILLMAILS.c.killmail_id
        rows = await self.read(
            select(column, KILLMAILS.c.total_value)
            .where(column >= low, column < high)
            .order_by(column.desc() if self.newest_first else column)
            .limit(ROWS)
        )
        self.spent += ROW_COST * len(rows)
        ids = np.array([row.killmail_id for row in rows], np.int64)
        codes = np.array([code_of(row.total_value) for row in rows], np.uint8)
        if len(rows) == ROWS:
            low, high = (int(ids[-1]), high) if self.newest_first else (low, int(ids[-1]) + 1)
        return _Step(low, high, ids, codes, {})

    async def select(self, step: _Step, limit: int, budget: int) -> tuple[list[int], int | None]:
        """Return the first killmails of a step that match, and the last id that was examined.

        It is None when all were. Stops when enough are found or the budget is spent.
        """
        certain, possible = await self.judge(self.tree, step)
        found: list[int] = []
        ids, is_certain = step.ids[possible], certain[possible]
        for start in range(0, len(ids), BODIES):
            if start and self.spent >= budget:
                return found, int(ids[start - 1])
            some, sure = ids[start : start + BODIES], is_certain[start : start + BODIES]
            confirmed = await self._confirm(some[~sure].tolist())
            found += [
                id_
                for id_, known in zip(some.tolist(), sure.tolist(), strict=True)
                if known or id_ in confirmed
            ]
            if len(found) >= limit:
                return found[:limit], found[limit - 1]
        return found, None

    async def judge(self, tree: Tree, step: _Step) -> Judgement:
        """Decide by postings, codes of values and ids of days, as far as these can."""
        match tree:
            case Has(term):
                return await self._by_terms([term], step)
            case OneAttacker(fields, final_blow):
                certain, possible = await self._by_terms(sorted(tree.terms()), step)
                return (certain if len(fields) == 1 and not final_blow else ~_all(step)), possible
            case Value(low, high):
                return _by_codes(step.codes, low, high)
            case Time(since, until):
                return self._by_days(step.ids, since, until)
            case Not(child):
                certain, possible = await self.judge(child, step)
                return ~possible, ~certain
            case And(children):
                return await self._all_of(children, step)
        return await self._any_of(tree.children, step)

    async def _by_terms(self, terms: Sequence[int], step: _Step) -> Judgement:
        """All of the terms."""
        held = _all(step)
        for term in terms:
            asked = step.ids[held]
            if term in step.known:
                held[held] = is_among(asked, step.known[term], step.low, step.high)
            else:
                has, postings = await which_have(self.read, term, asked)
                self.spent += postings
                held[held] = has
        return held, held

    async def _all_of(self, children: Sequence[Tree], step: _Step) -> Judgement:
        certain, possible = _all(step), _all(step)
        for child in sorted(children, key=cost_of):
            sure, maybe = await self.judge(child, step.take(possible))
            certain[possible] &= sure
            possible[possible] = maybe
        return certain & possible, possible

    async def _any_of(self, children: Sequence[Tree], step: _Step) -> Judgement:
        certain, possible = ~_all(step), ~_all(step)
        for child in sorted(children, key=cost_of):
            open_ = ~certain
            sure, maybe = await self.judge(child, step.take(open_))
            possible[open_] |= maybe
            certain[open_] = sure
        return certain, possible

    def _by_days(self, ids: Ids, since: datetime | None, until: datetime | None) -> Judgement:
        certain, possible = np.ones(len(ids), bool), np.ones(len(ids), bool)
        if since is not None:
            from_, to = self.days[_day(since)]
            possible &= ids >= from_
            certain &= ids > to
        if until is not None:
            from_, to = self.days[_day(until)]
            possible &= ids <= to
            certain &= ids < from_
        return certain & possible, possible

    def time_range(self, tree: Tree) -> tuple[int, int]:
        """Return the lowest id that may match, and the highest one and one."""
        low, high = 0, MAX_KILLMAIL_ID + 1
        for node in tree.children if isinstance(tree, And) else (tree,):
            if isinstance(node, Time) and node.since is not None:
                low = max(low, self.days[_day(node.since)][0])
            if isinstance(node, Time) and node.until is not None:
                high = min(high, self.days[_day(node.until)][1] + 1)
        return low, high

    async def _confirm(self, ids: Sequence[int]) -> set[int]:
        """Return which of these killmails match, by their bodies."""
        if not ids:
            return set()
        columns = (KILLMAILS.c.killmail_id, KILLMAILS.c.body, KILLMAILS.c.total_value)
        rows = await self.read(select(*columns).where(KILLMAILS.c.killmail_id.in_(ids)))
        await learn_dictionaries(self.read, rows)
        self.spent += BODY_COST * len(rows)
        listed = await self._listed(np.array(sorted(ids), np.int64))
        confirmed = set()
        for row in rows:
            killmail = parse_stored(row.killmail_id, row.body)
            if killmail is None:
                continue
            terms = {term for term, of_term in listed.items() if row.killmail_id in of_term}
            subject = Subject(killmail, terms_of(killmail) | terms, row.total_value)
            if matches(self.tree, subject):
                confirmed.add(row.killmail_id)
        return confirmed

    async def _listed(self, ids: Ids) -> dict[int, set[int]]:
        """Return which of these killmails have the terms that don't follow from their bodies."""
        found = {}
        for term in terms_in(self.tree):
            if term >> ID_BITS in _NOT_OF_BODY:
                has, _ = await which_have(self.read, term, ids)
                found[term] = set(ids[has].tolist())
        return found


def _day(time: datetime) -> date:
    return time.astimezone(UTC).date()


_NOT_OF_BODY: Final = OF_UNIVERSE | {Kind.LABEL}
_NO_IDS: Final = np.zeros(0, np.int64)
_NO_CODES: Final = np.zeros(0, np.uint8)


def _all(step: _Step) -> Mask:
    return np.ones(len(step.ids), bool)


def _by_codes(codes: Codes, low: float | None, high: float | None) -> Judgement:
    possible = codes > 0
    certain = possible
    if low is not None:
        certain = certain & (codes > code_of(low))
        possible = possible & (codes >= code_of(low))
    if high is not None:
        certain = certain & (codes < code_of(high))
        possible = possible & (codes <= code_of(high))
    return certain, possible


async def _bounds_of_days(read: Read, tree: Tree) -> dict[date, tuple[int, int]]:
    """Read the bounds of ids for the days that a tree names."""
    table = KILLMAIL_DAYS.c
    bounds = {}
    for day in {_day(time) for time in times_in(tree)}:
        from_ = select(func.min(table.first_killmail_id)).where(table.day >= day)
        to = select(func.max(table.last_killmail_id)).where(table.day <= day)
        both = select(from_.scalar_subquery().label("low"), to.scalar_subquery().label("high"))
        (row,) = await read(both)
        low, high = row.low, row.high
        bounds[day] = (MAX_KILLMAIL_ID + 1 if low is None else low, -1 if high is None else high)
    return bounds
