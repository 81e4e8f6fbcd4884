"""Decide which killmails meet conditions, by postings as far as they can tell, else by bodies."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from actors.shared.among import among
from actors.shared.dictionaries import learn_dictionaries
from actors.shared.finding.kinds import MAX_KILLMAIL_ID, code_of
from actors.shared.finding.plan import (
    cost_of,
    leads_of,
    reads_body,
    reads_zkb,
    terms_in,
    times_in,
)
from actors.shared.finding.stored import columns_for, cost_of_row, subjects_of
from actors.shared.finding.subject import matches
from actors.shared.finding.tree import (
    And,
    AttackerCount,
    Has,
    HasAny,
    Not,
    Or,
    Time,
    Tree,
    Value,
    ValueUnknown,
)
from actors.shared.finding.windows import (
    Codes,
    Ids,
    Listed,
    Query,
    Read,
    Rows,
    is_among,
    which_have,
)
from actors.shared.tables import KILLMAIL_DAYS, KILLMAILS

BUDGET: Final = 1_000_000
"""Postings that one page may read; about 60 ms."""
QUERY_COST: Final = 10_000
"""What a query counts, in postings."""
ROWS: Final = 500
"""Killmails that are read at once where no term leads."""
BODIES: Final = 50
"""Bodies that are read at once; twice as many rows after each of them, where no body is needed."""

Mask = NDArray[np.bool_]
Judgement = tuple[Mask, Mask]
"""Which killmails certainly meet a condition, and which possibly."""


@dataclass(frozen=True)
class Step:
    """Killmails that may match, between two ids; in the order of the page."""

    low: int
    high: int
    ids: Ids
    codes: Codes
    known: dict[int, Ids]
    """What terms list of these killmails, as far as it was read."""

    def take(self, chosen: Mask) -> "Step":
        """Return the step with some of its killmails."""
        return Step(self.low, self.high, self.ids[chosen], self.codes[chosen], self.known)


def step_of(listed: Listed, leads: Iterable[int]) -> Step:
    """Make the step through what the leading terms list, by id."""
    of_leads = [listed.by_term[term] for term in leads]
    ids = np.concatenate([ids for ids, _ in of_leads] or [_NO_IDS])
    codes = np.concatenate([codes for _, codes in of_leads] or [_NO_CODES])
    ids, first = np.unique(ids, return_index=True)
    known = {term: ids for term, (ids, _) in listed.by_term.items()}
    return Step(listed.low, listed.high, ids, codes[first], known)


@dataclass
class Walk:
    """One search: what is asked, and what it has cost until now."""

    reader: Read
    tree: Tree
    """Of `normal_form`."""
    at: Mapping[datetime, tuple[int, int]]
    """For a time: the lowest id of its day or later, and the highest id of a day that began before.

    Those from the first on may be of that time or later, those above both certainly are.
    """
    spent: int = 0
    """In postings."""
    rows: Rows = field(default_factory=dict)
    """Those that were read to look up what terms list."""

    async def read(self, query: Query) -> Sequence[Any]:
        """Run a query."""
        self.spent += QUERY_COST
        return await self.reader(query)

    async def first_of(
        self, ids: Ids, certain: Mask, limit: int, budget: int
    ) -> tuple[list[int], int | None]:
        """Return the first of these killmails that match, and the last id that was examined.

        It is None when all were. Stops when enough are found or the budget is spent.
        """
        found: list[int] = []
        size, end = BODIES, 0
        while (start := end) < len(ids):
            if start and self.spent >= budget:
                return found, int(ids[start - 1])
            end = start + size
            some, sure = ids[start:end], certain[start:end]
            if not reads_body(self.tree):
                size = min(size * 2, ROWS)
            confirmed = await self._confirm(some[~sure].tolist())
            found += [
                id_
                for id_, known in zip(some.tolist(), sure.tolist(), strict=True)
                if known or id_ in confirmed
            ]
            if len(found) >= limit:
                return found[:limit], found[limit - 1]
        return found, None

    async def judge(self, step: Step) -> Judgement:
        """Decide by postings, codes of values and ids of days, as far as these can."""
        return await self._judge(self.tree, step)

    async def _judge(self, tree: Tree, step: Step) -> Judgement:
        match tree:
            case Not(child):
                certain, possible = await self._judge(child, step)
                return ~possible, ~certain
            case And(children):
                return await self._all_of(children, step)
            case Or(children):
                return await self._any_of(children, step)
            case Value() | ValueUnknown():
                return _by_codes(step.codes, tree)
            case Time(since, until):
                return self._by_days(step.ids, since, until)
            case AttackerCount():
                return await self._by_attacker_count(tree, step)
        certain, possible = await self._by_terms(leads_of(tree), step)
        return certain if isinstance(tree, Has | HasAny) else ~_all(step), possible

    async def _by_terms(self, sets: Sequence[frozenset[int]], step: Step) -> Judgement:
        """One term of each of the sets."""
        held = _all(step)
        for terms in sorted(sets, key=len):
            asked = step.ids[held]
            if terms <= step.known.keys():
                listed = [step.known[term] for term in terms]
                held[held] = is_among(asked, np.concatenate(listed or [_NO_IDS]))
            else:
                held[held] = await self._which_have(terms, asked)
        return held, held

    async def _by_attacker_count(self, tree: AttackerCount, step: Step) -> Judgement:
        suffice, others = tree.terms()
        certain, _ = await self._by_terms([suffice], step)
        possible = certain.copy()
        possible[~certain] = (await self._by_terms([others], step.take(~certain)))[1]
        return certain, possible

    async def _all_of(self, children: Sequence[Tree], step: Step) -> Judgement:
        certain, possible = _all(step), _all(step)
        for child in sorted(children, key=cost_of):
            sure, maybe = await self._judge(child, step.take(possible))
            certain[possible] &= sure
            possible[possible] = maybe
        return certain & possible, possible

    async def _any_of(self, children: Sequence[Tree], step: Step) -> Judgement:
        certain, possible = ~_all(step), ~_all(step)
        for child in sorted(children, key=cost_of):
            open_ = ~certain
            sure, maybe = await self._judge(child, step.take(open_))
            possible[open_] |= maybe
            certain[open_] = sure
        return certain, possible

    def _by_days(self, ids: Ids, since: datetime | None, until: datetime | None) -> Judgement:
        certain, possible = np.ones(len(ids), bool), np.ones(len(ids), bool)
        if since is not None:
            from_, to = self.at[since]
            possible &= ids >= from_
            certain &= ids > to
        if until is not None:
            from_, to = self.at[until]
            possible &= ids <= to
            certain &= ids < from_
        return certain & possible, possible

    def time_range(self) -> tuple[int, int]:
        """Return the lowest id that may match, and the highest one and one."""
        low, high = 0, MAX_KILLMAIL_ID + 1
        for node in self.tree.children if isinstance(self.tree, And) else (self.tree,):
            if isinstance(node, Time) and node.since is not None:
                low = max(low, self.at[node.since][0])
            if isinstance(node, Time) and node.until is not None:
                high = min(high, self.at[node.until][1] + 1)
        return low, high

    async def _confirm(self, ids: Sequence[int]) -> set[int]:
        """Return which of these killmails match, by their rows, and by their bodies if need be."""
        if not ids:
            return set()
        columns = columns_for(self.tree)
        rows = await self.read(select(*columns).where(among(KILLMAILS.c.killmail_id, ids)))
        self.spent += cost_of_row(self.tree) * len(rows)
        if reads_body(self.tree) or reads_zkb(self.tree):
            await learn_dictionaries(self.read, rows)
        listed = await self._listed(np.array(sorted(ids), np.int64))
        subjects = subjects_of(self.tree, rows, listed)
        return {id_ for id_, subject in subjects if matches(self.tree, subject)}

    async def _listed(self, ids: Ids) -> dict[int, set[int]]:
        """Return which of these killmails have each term that is asked for."""
        terms = terms_in(self.tree)
        await self._which_have(terms, ids)  # reads what all need, in few queries
        return {term: set(ids[await self._which_have([term], ids)].tolist()) for term in terms}

    async def _which_have(self, terms: Iterable[int], ids: Ids) -> Mask:
        has, postings = await which_have(self.read, terms, ids, self.rows)
        self.spent += postings
        return has


async def begin(read: Read, tree: Tree) -> Walk:
    """Prepare a search for a tree of `normal_form`."""
    table = KILLMAIL_DAYS.c
    bounds = {}
    for time in times_in(tree):
        day = time.astimezone(UTC).date()
        began_before = table.day < day if _is_midnight(time) else table.day <= day
        from_ = select(func.min(table.first_killmail_id)).where(table.day >= day)
        to = select(func.max(table.last_killmail_id)).where(began_before)
        both = select(from_.scalar_subquery().label("low"), to.scalar_subquery().label("high"))
        (row,) = await read(both)
        low, high = row.low, row.high
        bounds[time] = (MAX_KILLMAIL_ID + 1 if low is None else low, -1 if high is None else high)
    return Walk(read, tree, bounds)


_NO_IDS: Final = np.zeros(0, np.int64)
_NO_CODES: Final = np.zeros(0, np.uint8)


def _is_midnight(time: datetime) -> bool:
    return time.astimezone(UTC).time() == datetime.min.time()


def _all(step: Step) -> Mask:
    return np.ones(len(step.ids), bool)


def _by_codes(codes: Codes, tree: Value | ValueUnknown) -> Judgement:
    if isinstance(tree, ValueUnknown):
        return codes == 0, codes == 0
    certain = possible = codes > 0
    if tree.low is not None:
        certain = certain & (codes > code_of(tree.low))
        possible = possible & (codes >= code_of(tree.low))
    if tree.high is not None:
        certain = certain & (codes < code_of(tree.high))
        possible = possible & (codes <= code_of(tree.high))
    return certain, possible
