"""Read rows of `postings`: the windows of terms, and the killmails listed in them."""

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Select,
    TextClause,
    func,
    select,
    text,
    union_all,
)

from actors.shared.among import among
from actors.shared.finding.kinds import WINDOW_BITS, base_of, key_of, width_of
from actors.shared.tables import POSTINGS

Ids = NDArray[np.int64]
Codes = NDArray[np.uint8]
Query = Select[Any] | CompoundSelect[Any] | TextClause
Read = Callable[[Query], Awaitable[Sequence[Any]]]
"""Runs a query and returns its rows."""

Rows = dict[int, Any]
"""Rows by their keys; None where there is none."""

MAX_TERMS: Final = 100
"""Terms in one statement."""
MAX_KEYS: Final = 5_000
"""Keys in one statement."""
MAX_KNOWN: Final = 20_000
"""Keys of rows that are remembered for one condition of a step; with more of them, none is."""
SPARSE: Final = 5_000
"""Ids between two bounds for each one listed, above which sorting is faster than a bitmap."""


@dataclass(frozen=True)
class Listed:
    """What the rows of terms list between two ids."""

    low: int
    """The lowest id."""
    high: int
    """The highest id, and one."""
    by_term: dict[int, tuple[Ids, Codes]]
    postings: int
    """How many were read."""


async def next_windows(
    read: Read, terms: Iterable[int], low: int, high: int, limit: int, *, newest_first: bool
) -> Listed:
    """Read the next `limit` rows of each term, from one end of the ids between `low` and `high`.

    The result reaches to where the first of the terms has further rows.
    """
    rows: dict[int, list[Any]] = defaultdict(list)
    wanted = sorted(terms)
    for start in range(0, len(wanted), MAX_TERMS):
        some = wanted[start : start + MAX_TERMS]
        for row in await read(_next_rows(some, low, high, limit, newest_first=newest_first)):
            rows[row.key >> WINDOW_BITS].append(row)
    for term, found in rows.items():
        if len(found) < limit:
            continue
        if newest_first:
            low = max(low, min(base_of(row.key) for row in found))
        else:
            ends = (base_of(row.key) + (1 << width_of(term)) for row in found)
            high = min(high, max(ends))
    by_term = {term: _unpack(rows.get(term, ()), low, high) for term in wanted}
    postings = sum(len(row.worths) for found in rows.values() for row in found)
    return Listed(low, high, by_term, postings)


async def which_have(
    read: Read, terms: Iterable[int], ids: Ids, known: Rows
) -> tuple[NDArray[np.bool_], int]:
    """Tell which of these ids one of the terms lists; also how many postings were read for it.

    Rows that are known aren't read again, and those that were read are known then.
    """
    has = np.zeros(len(ids), bool)
    if not len(ids):
        return has, 0
    low, high = int(ids.min()), int(ids.max()) + 1
    postings = 0
    for width, some in groupby(sorted(terms, key=width_of), width_of):
        rows, count = await _rows_of(read, list(some), np.unique(ids >> width).tolist(), known)
        listed, _ = _unpack(rows, low, high)
        has |= is_among(ids, listed)
        postings += count
    return has, postings


async def _rows_of(
    read: Read, terms: Sequence[int], windows: Sequence[int], known: Rows
) -> tuple[list[Any], int]:
    """Read the rows of terms of one width for some windows; also how many postings were read."""
    firsts = [term << WINDOW_BITS for term in terms]
    if len(firsts) * len(windows) > MAX_KNOWN:
        rows = await _of_ranges(read, [(one | windows[0], one | windows[-1]) for one in firsts])
        return rows, sum(len(row.worths) for row in rows)
    keys = [first | window for first in firsts for window in windows]
    unknown = [key for key in keys if key not in known]
    read_now: list[Any] = []
    if len(unknown) * 3 < len(firsts) * (windows[-1] - windows[0] + 1):
        read_now = await _by_keys(read, unknown)
    elif unknown:
        read_now = await _of_ranges(read, [(one | windows[0], one | windows[-1]) for one in firsts])
    known.update(dict.fromkeys(unknown))
    known.update((row.key, row) for row in read_now)
    return [row for key in keys if (row := known[key])], sum(len(row.worths) for row in read_now)


async def _of_ranges(read: Read, ranges: Sequence[tuple[int, int]]) -> list[Any]:
    """Read the rows of ranges of keys, from the first to the last of each."""
    rows: list[Any] = []
    for start in range(0, len(ranges), MAX_TERMS):
        some = ranges[start : start + MAX_TERMS]
        bounds = {f"low{i}": low for i, (low, _) in enumerate(some)}
        bounds |= {f"high{i}": high for i, (_, high) in enumerate(some)}
        rows += await read(_ranges(len(some)).bindparams(**bounds))
    return rows


async def sizes_of(read: Read, terms: Iterable[int], low: int, high: int) -> Counter[int]:
    """Count what each term lists in the windows of ids from `low` to `high`."""
    key = POSTINGS.c.key
    sums = (func.min(key).label("key"), func.sum(func.length(POSTINGS.c.worths)).label("size"))
    rows = await _of_each(
        read, terms, lambda term: select(*sums).where(_is_between(term, low, high))
    )
    return Counter({row.key >> WINDOW_BITS: row.size for row in rows if row.key is not None})


async def tops_of(
    read: Read, terms: Iterable[int], low: int, high: int
) -> list[tuple[int, int, int]]:
    """List the rows of terms by highest code, key and size, the highest first."""
    columns = (POSTINGS.c.top, POSTINGS.c.key, func.length(POSTINGS.c.worths).label("size"))
    rows = await _of_each(
        read, terms, lambda term: select(*columns).where(_is_between(term, low, high))
    )
    return sorted(((row.top, row.key, row.size) for row in rows), reverse=True)


async def read_rows(
    read: Read, terms: Iterable[int], keys: Sequence[int], low: int, high: int
) -> Listed:
    """Read rows by their keys; what they list between two ids."""
    rows: dict[int, list[Any]] = defaultdict(list)
    for row in await _by_keys(read, keys):
        rows[row.key >> WINDOW_BITS].append(row)
    by_term = {term: _unpack(rows.get(term, ()), low, high) for term in terms}
    return Listed(
        low, high, by_term, sum(len(row.worths) for found in rows.values() for row in found)
    )


def is_among(ids: Ids, listed: Ids) -> NDArray[np.bool_]:
    """Tell which of `ids` are in `listed`."""
    if not len(ids) or not len(listed):
        return np.zeros(len(ids), bool)
    low, high = int(ids.min()), int(ids.max())
    if high - low > SPARSE * (len(ids) + len(listed)):
        return np.isin(ids, listed)
    bitmap = np.zeros(high - low + 1, bool)
    bitmap[listed[(listed >= low) & (listed <= high)] - low] = True
    return bitmap[ids - low]


async def _by_keys(read: Read, keys: Sequence[int]) -> list[Any]:
    """Read the rows of these keys, none of them twice."""
    rows: list[Any] = []
    for start in range(0, len(keys), MAX_KEYS):
        some = among(POSTINGS.c.key, keys[start : start + MAX_KEYS])
        rows += await read(select(POSTINGS).where(some))
    return rows


def _next_rows(
    terms: Sequence[int], low: int, high: int, limit: int, *, newest_first: bool
) -> TextClause:
    bounds = {f"low{i}": key_of(term, low) for i, term in enumerate(terms)}
    bounds |= {f"high{i}": key_of(term, high - 1) for i, term in enumerate(terms)}
    return _next_rows_of(len(terms), newest_first).bindparams(count=limit, **bounds)


@cache
def _next_rows_of(count: int, newest_first: bool) -> TextClause:
    """Build the query for the next rows of so many terms; as text it is built once."""
    order = "DESC" if newest_first else "ASC"
    parts = (
        f"SELECT * FROM ({_COLUMNS} BETWEEN :low{i} AND :high{i} ORDER BY key {order} LIMIT :count)"
        f" AS rows_{i}"
        for i in range(count)
    )
    return text(" UNION ALL ".join(parts))


_COLUMNS: Final = "SELECT key, top, places, worths FROM postings WHERE key"


@cache
def _ranges(count: int) -> TextClause:
    """Build the query for so many ranges of keys."""
    parts = (f"{_COLUMNS} BETWEEN :low{i} AND :high{i}" for i in range(count))
    return text(" UNION ALL ".join(parts))


def _is_between(term: int, low: int, high: int) -> ColumnElement[bool]:
    return POSTINGS.c.key.between(key_of(term, low), key_of(term, high - 1))


async def _of_each(
    read: Read, terms: Iterable[int], query_of: Callable[[int], Select[Any]]
) -> list[Any]:
    """Run a query for each term, all in few statements."""
    rows: list[Any] = []
    all_ = [query_of(term) for term in sorted(terms)]
    for start in range(0, len(all_), MAX_TERMS):
        queries = all_[start : start + MAX_TERMS]
        rows += await read(queries[0] if len(queries) == 1 else union_all(*queries))
    return rows


def _unpack(rows: Sequence[Any], low: int, high: int) -> tuple[Ids, Codes]:
    """List the ids of one term's rows between two bounds, and their values' codes, in no order."""
    if not rows:
        return np.zeros(0, np.int64), np.zeros(0, np.uint8)
    counts = [len(row.worths) for row in rows]
    windows = np.array([row.key for row in rows], np.int64) & (1 << WINDOW_BITS) - 1
    bases = np.repeat(windows << width_of(rows[0].key >> WINDOW_BITS), counts)
    ids = bases + np.frombuffer(b"".join(row.places for row in rows), "<u2")
    codes = np.frombuffer(b"".join(row.worths for row in rows), np.uint8)
    inside = (ids >= low) & (ids < high)
    return ids[inside], codes[inside]
