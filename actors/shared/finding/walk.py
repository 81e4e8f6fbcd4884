"""Decide which killmails meet conditions, by postings as far as they can tell, else by bodies."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from actors.shared.among import among
from actors.shared.body import stored_attackers
from actors.shared.dictionaries import learn_dictionaries
from actors.shared.finding.kinds import MAX_KILLMAIL_ID, code_of
from actors.shared.finding.plan import asks_for_one_attacker, cost_of, terms_in, times_in
from actors.shared.finding.subject import Subject, matches
from actors.shared.finding.tree import (
    And,
    AttackerCount,
    Has,
    Not,
    OneAttacker,
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
BODY_COST: Final = 500
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
        for start in range(0, len(ids), BODIES):
            if start and self.spent >= budget:
                return found, int(ids[start - 1])
            some, sure = ids[start : start + BODIES], certain[start : start + BODIES]
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
            case Has(term):
                return await self._by_terms([term], step)
            case OneAttacker():
                _, possible = await self._by_terms(sorted(tree.terms()), step)
                return ~_all(step), possible
            case AttackerCount():
                return await self._by_attacker_count(tree, step)
            case Value() | ValueUnknown():
                return _by_codes(step.codes, tree)
            case Time(since, until):
                return self._by_days(step.ids, since, until)
            case Not(child):
                certain, possible = await self._judge(child, step)
                return ~possible, ~certain
            case And(children):
                return await self._all_of(children, step)
        return await self._any_of(tree.children, step)

    async def _by_terms(self, terms: Sequence[int], step: Step) -> Judgement:
        """All of the terms."""
        held = _all(step)
        for term in terms:
            asked = step.ids[held]
            if term in step.known:
                held[held] = is_among(asked, step.known[term])
            else:
                has, postings = await which_have(self.read, term, asked, self.rows)
                self.spent += postings
                held[held] = has
        return held, held

    async def _by_attacker_count(self, tree: AttackerCount, step: Step) -> Judgement:
        suffice, others = tree.terms()
        certain, _ = await self._any_of([Has(term) for term in sorted(suffice)], step)
        possible = certain.copy()
        possible[~certain] = (
            await self._any_of([Has(term) for term in sorted(others)], step.take(~certain))
        )[1]
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
        with_attackers = asks_for_one_attacker(self.tree)
        columns = (*_FACTS, KILLMAILS.c.body) if with_attackers else _FACTS
        rows = await self.read(select(*columns).where(among(KILLMAILS.c.killmail_id, ids)))
        self.spent += (BODY_COST if with_attackers else ROW_COST) * len(rows)
        if with_attackers:
            await learn_dictionaries(self.read, rows)
        listed = await self._listed(np.array(sorted(ids), np.int64))
        return {
            row.killmail_id
            for row in rows
            if matches(
                self.tree,
                Subject(
                    row.killmail_time,
                    row.total_value,
                    row.attacker_count,
                    stored_attackers(row.killmail_id, row.body) if with_attackers else (),
                    {term for term, of_term in listed.items() if row.killmail_id in of_term},
                ),
            )
        }

    async def _listed(self, ids: Ids) -> dict[int, set[int]]:
        """Return which of these killmails have each term that is asked for."""
        found = {}
        for term in terms_in(self.tree):
            has, postings = await which_have(self.read, term, ids, self.rows)
            self.spent += postings
            found[term] = set(ids[has].tolist())
        return found


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
_FACTS: Final = tuple(
    KILLMAILS.c[name] for name in ("killmail_id", "killmail_time", "total_value", "attacker_count")
)


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
