"""Find the killmails that match, in the order of their values; unknown values come last, by id.

Where the rarest term that all results have lists few killmails, all of them are looked at, those
of the first codes first. Else the index on values is walked, and each killmail judged.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final

import numpy as np
from sqlalchemy import ColumnElement, literal, select, tuple_

from actors.shared.among import among
from actors.shared.finding.find import search
from actors.shared.finding.kinds import MAX_CODE, MAX_KILLMAIL_ID, code_of, least_value, width_of
from actors.shared.finding.normal import normal_form
from actors.shared.finding.plan import leads_of, values_in, where_unknown
from actors.shared.finding.stored import ROW_COST
from actors.shared.finding.tree import NOTHING, And, Tree, ValueUnknown
from actors.shared.finding.walk import BUDGET, ROWS, Mask, Step, Walk, begin, step_of
from actors.shared.finding.windows import MAX_KEYS, Codes, Read, read_rows, sizes_of, tops_of
from actors.shared.tables import KILLMAILS

FEW: Final = 300_000
"""Killmails listed by the leading terms, above which the index on values is walked."""
WIDE: Final = 12
"""Bits of the windows of terms that may be rare: those with narrower ones are in most windows."""
FIRST_ROWS: Final = 128
"""Rows of the leading terms that are read at first; then four times as many, and so on."""
LEAST_JUDGED: Final = 200
"""Killmails that are judged first, with all others of the same codes; then four times as many."""
MOST_SORTED: Final = 2_000
"""Killmails of the same codes that are sorted here by their values."""


@dataclass(frozen=True)
class ValuePosition:
    """A place in the order, up to which and including it all was searched."""

    total_value: float | None
    """None among killmails of unknown value."""
    killmail_id: int


@dataclass(frozen=True)
class ValuePage:
    """Killmails that were found, in order."""

    found: list[ValuePosition]
    searched_to: ValuePosition | None
    """None at the end."""


async def find_by_value(
    read: Read,
    tree: Tree,
    *,
    limit: int,
    start: ValuePosition | None = None,
    highest_first: bool = True,
    budget: int = BUDGET,
) -> ValuePage:
    """Find the next killmails that match, in the order of value and id.

    Args:
        read: runs a query. All queries of a page should see the same state of the database.
        tree: what is asked.
        limit: how many at most.
        start: `searched_to` of the page before, of the same order; None for the first page.
        highest_first: the order of values, and of ids; unknown values come last in both.
        budget: postings that may be read before the page ends unfilled.
    """
    walk = await begin(read, normal_form(tree))
    found: list[ValuePosition] = []
    if start is None or start.total_value is not None:
        valued = _Valued(walk, limit, highest_first, budget, start)
        await valued.run()
        if valued.searched_to is not None:
            return ValuePage(valued.found, valued.searched_to)
        found, start = (
            valued.found,
            ValuePosition(None, MAX_KILLMAIL_ID + 1 if highest_first else -1),
        )
    asked = where_unknown(walk.tree)
    if asked == NOTHING:
        return ValuePage(found, None)
    if len(found) == limit:
        return ValuePage(found, start)
    onward = -1 if highest_first else 1
    page = await search(
        Walk(read, And((ValueUnknown(), asked)), walk.at, walk.spent),
        limit - len(found),
        start.killmail_id + onward,
        newest_first=highest_first,
        budget=budget,
    )
    to = page.searched_to
    searched_to = None if to is None else ValuePosition(None, to - onward)
    found += [ValuePosition(None, id_) for id_ in page.killmail_ids]
    return ValuePage(found, searched_to)


@dataclass
class _Valued:
    """The search among killmails of known value."""

    walk: Walk
    limit: int
    highest_first: bool
    budget: int
    searched_to: ValuePosition | None
    """At first where the page begins; at the end None when all were searched."""
    found: list[ValuePosition] = field(default_factory=list)

    async def run(self) -> None:
        """Fill `found`, and set `searched_to`."""
        low, high = self.walk.time_range()
        if low >= high:
            self.searched_to = None
            return
        leads = await self._leads(low, high)
        if leads is None or not await self._by_windows(leads, low, high):
            await self._by_index(low, high)

    async def _leads(self, low: int, high: int) -> frozenset[int] | None:
        """Choose terms of which each result has one, and which list few killmails, if need be."""
        all_choices = leads_of(self.walk.tree)
        choices = [
            terms for terms in all_choices if all(width_of(term) >= WIDE for term in terms)
        ] or all_choices
        if len(choices) == 1:
            return choices[0]
        sizes = await sizes_of(self.walk.read, frozenset().union(*choices), low, high)
        few = [
            (size, leads)
            for leads in choices
            if (size := sum(sizes[term] for term in leads)) <= FEW
        ]
        return min(few, key=itemgetter(0))[1] if few else None

    async def _by_windows(self, leads: frozenset[int], low: int, high: int) -> bool:
        """Look at what the leading terms list; False where they, or those of a code, are many.

        Codes above the highest one of the rows that aren't read yet are settled: these rows list
        no killmail that comes before.
        """
        rows = await tops_of(self.walk.read, leads, low, high)
        self.walk.spent += len(rows)
        if sum(size for _, _, size in rows) > FEW:
            return False
        size = FIRST_ROWS if self.highest_first else len(rows)
        least, beyond = self._codes()
        steps: list[Step] = []
        done = 0
        while done < len(rows) and least < beyond:
            keys = [key for _, key, _ in rows[done : done + size]]
            listed = await read_rows(self.walk.read, leads, keys, low, high)
            self.walk.spent += listed.postings
            steps.append(step_of(listed, leads))
            done, size = done + len(keys), size * 4
            settled = max(least, rows[done][0] + 1 if done < len(rows) else 1)
            if settled < beyond:
                if not await self._take_codes(_joined(steps), settled, beyond):
                    return False
                if self._is_over or self.searched_to is None:
                    return True
                beyond = settled
        self.searched_to = None
        return True

    async def _take_codes(self, step: Step, low: int, high: int) -> bool:
        """Take what matches of these codes, in order, until the page is over."""
        for group in self._groups(step.codes, low, high):
            if not await self._take(step.take(group)):
                return False
            if self._is_over:
                return True
        # With the lowest first all rows were read, and these are the last codes.
        self.searched_to = ValuePosition(least_value(low), -1) if self.highest_first else None
        return True

    async def _take(self, step: Step) -> bool:
        """Take what matches of a whole group of codes; False if it has to be sorted elsewhere."""
        certain, possible = await self.walk.judge(step)
        if np.count_nonzero(possible) > MOST_SORTED:
            return False
        sure = dict(zip(step.ids[possible].tolist(), certain[possible].tolist(), strict=True))
        values = await self._values(list(sure))
        order = sorted(((value, id_) for id_, value in values.items()), reverse=self.highest_first)
        ids = [id_ for value, id_ in order if self._is_left(value, id_)]
        last = await self._first_of(ids, [sure[id_] for id_ in ids], values)
        if last is not None:
            self.searched_to = ValuePosition(values[last], last)
        elif self.highest_first:
            self.searched_to = ValuePosition(least_value(int(step.codes.min())), -1)
        else:
            self.searched_to = ValuePosition(least_value(int(step.codes.max()) + 1), -1)
        return True

    async def _by_index(self, low: int, high: int) -> None:
        """Walk the killmails of known value, in order."""
        value, id_ = KILLMAILS.c.total_value, KILLMAILS.c.killmail_id
        order = (value.desc(), id_.desc()) if self.highest_first else (value, id_)
        query = select(id_, value).where(value.is_not(None), id_ >= low, id_ < high)
        query = query.where(*_within(value, *values_in(self.walk.tree)))
        query = query.order_by(*order).limit(ROWS)
        while True:
            rows = await self.walk.read(query.where(*self._onward()))
            self.walk.spent += ROW_COST * len(rows)
            ids = np.array([row.killmail_id for row in rows], np.int64)
            codes = np.array([code_of(row.total_value) for row in rows], np.uint8)
            step = Step(low, high, ids, codes, {})
            certain, possible = await self.walk.judge(step)
            values = {row.killmail_id: row.total_value for row in rows}
            last = await self._first_of(ids[possible].tolist(), certain[possible].tolist(), values)
            if last is None and len(rows) < ROWS:
                self.searched_to = None
                return
            at = int(ids[-1]) if last is None else last
            self.searched_to = ValuePosition(values[at], at)
            if self._is_over:
                return

    async def _first_of(
        self, ids: list[int], certain: list[bool], values: Mapping[int, float]
    ) -> int | None:
        """Add the first that match to `found`; return the last id examined, None for all."""
        found, last = await self.walk.first_of(
            np.array(ids, np.int64),
            np.array(certain, bool),
            self.limit - len(self.found),
            self.budget,
        )
        self.found += [ValuePosition(values[id_], id_) for id_ in found]
        return last

    async def _values(self, ids: list[int]) -> dict[int, float]:
        values: dict[int, float] = {}
        columns = (KILLMAILS.c.killmail_id, KILLMAILS.c.total_value)
        for start in range(0, len(ids), MAX_KEYS):
            some = among(KILLMAILS.c.killmail_id, ids[start : start + MAX_KEYS])
            rows = await self.walk.read(select(*columns).where(some))
            values |= {r.killmail_id: r.total_value for r in rows if r.total_value is not None}
        return values

    @property
    def _is_over(self) -> bool:
        return len(self.found) == self.limit or self.walk.spent >= self.budget

    def _is_left(self, value: float, killmail_id: int) -> bool:
        """Tell whether a killmail comes after the beginning of the page."""
        if self.searched_to is None or self.searched_to.total_value is None:
            return True
        here = (self.searched_to.total_value, self.searched_to.killmail_id)
        at = (value, killmail_id)
        return at < here if self.highest_first else at > here

    def _onward(self) -> list[ColumnElement[bool]]:
        """Build the condition for what comes after the place that the search has reached."""
        if self.searched_to is None or self.searched_to.total_value is None:
            return []
        at = tuple_(KILLMAILS.c.total_value, KILLMAILS.c.killmail_id)
        here: Any = tuple_(
            literal(self.searched_to.total_value), literal(self.searched_to.killmail_id)
        )
        return [at < here if self.highest_first else at > here]

    def _codes(self) -> tuple[int, int]:
        """Return the lowest code that is left, and the highest one and one."""
        least, below = values_in(self.walk.tree)
        low = 1 if least is None else code_of(least)
        high = MAX_CODE + 1 if below is None else code_of(below) + 1
        if self.searched_to is None or self.searched_to.total_value is None:
            return low, high
        code = code_of(self.searched_to.total_value)
        if not self.highest_first:
            return max(low, code), high
        is_done = self.searched_to == ValuePosition(least_value(code), -1)
        return low, min(high, code + (not is_done))

    def _groups(self, codes: Codes, low: int, high: int) -> Iterator[Mask]:
        """Divide killmails by their codes, in order; each group has all of its codes."""
        present, counts = np.unique(codes[(codes >= low) & (codes < high)], return_counts=True)
        by_code = list(zip(present.tolist(), counts.tolist(), strict=True))
        taken: list[int] = []
        size, wanted = 0, LEAST_JUDGED
        for code, count in reversed(by_code) if self.highest_first else by_code:
            taken.append(code)
            size += count
            if size >= wanted:
                yield (codes >= min(taken)) & (codes <= max(taken))
                taken, size, wanted = [], 0, wanted * 4
        if taken:
            yield (codes >= min(taken)) & (codes <= max(taken))


def _joined(steps: list[Step]) -> Step:
    """Join what was read of the same terms."""
    ids = np.concatenate([step.ids for step in steps])
    ids, first = np.unique(ids, return_index=True)
    codes = np.concatenate([step.codes for step in steps])[first]
    known = {term: np.concatenate([step.known[term] for step in steps]) for term in steps[0].known}
    return Step(steps[0].low, steps[0].high, ids, codes, known)


def _within(
    value: ColumnElement[Any], least: float | None, below: float | None
) -> list[ColumnElement[bool]]:
    bounds = [value >= least] if least is not None else []
    return bounds + ([value < below] if below is not None else [])
