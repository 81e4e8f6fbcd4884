"""Find what differs from bodies and zkb blocks, without changing anything."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

import numpy as np
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.killmails.check.findings import Findings
from actors.killmails.check.stored import (
    Attackers,
    Stored,
    attackers_between,
    attackers_derived,
    by_ids,
    read_known,
    read_stored,
    unnumbered,
)
from actors.killmails.findable import Known, posted
from actors.killmails.postings import Entries, Row, entries_of, grouped, places_of
from actors.shared.among import among
from actors.shared.daemon import in_daemon
from actors.shared.database import reading_one_state
from actors.shared.finding.kinds import BLOCK_BITS, WINDOW_BITS, base_of
from actors.shared.tables import KILLMAIL_DAYS, KILLMAILS, POSTINGS

P = ParamSpec("P")
T = TypeVar("T")

CHUNK: Final = 500
"""Killmails that are read at once."""
KEYS: Final = 5_000
"""Rows of postings that are read at once."""


async def inspect_block(database: AsyncEngine, block: int) -> tuple[Findings, dict[int, Row]]:
    """Check all killmails of a block; also return the rows of postings that it should have.

    Takes some seconds and 100 MB for a block of 65,536 killmails. What should not be listed at all
    is found as far as it stands in these rows; see `surplus` for the others.
    """
    found = Findings()
    column = KILLMAILS.c.killmail_id
    low, high = block << BLOCK_BITS, (block + 1) << BLOCK_BITS
    entries = []
    async with reading_one_state(database) as connection:
        known = await read_known(database, connection)
        while low < high:
            query = select(KILLMAILS).where(column >= low, column < high)
            stored = await read_stored(connection, query.order_by(column).limit(CHUNK))
            ids = sorted([*(row.killmail_id for row in stored.rows), *stored.unreadable])
            if not ids:
                break
            low = ids[-1] + 1
            attackers = await attackers_between(connection, ids[0], ids[-1])
            entries.append(await _inspect_chunk(connection, stored, attackers, known, found))
        expected = await _apart(grouped, _together(entries)) if entries else {}
        found.rows = len(expected)
        differing = await _with_actual(connection, expected)
        await _apart(_note_all, found, differing, _differences)
    return found, expected


async def inspect_some(database: AsyncEngine, ids: Sequence[int]) -> Findings:
    """Check some killmails; what lists them wrongly in addition isn't found."""
    found = Findings()
    async with reading_one_state(database) as connection:
        known = await read_known(database, connection)
        for start in range(0, len(ids), CHUNK):
            stored = await read_stored(connection, by_ids(ids[start : start + CHUNK]))
            attackers: Attackers = {}
            for row in stored.rows:
                id_ = row.killmail_id
                attackers |= await attackers_between(connection, id_, id_)
            entries = await _inspect_chunk(connection, stored, attackers, known, found)
            expected = grouped(entries)
            _note_all(found, await _with_actual(connection, expected), _lacking)
    return found


async def _inspect_chunk(
    connection: AsyncConnection,
    stored: Stored,
    attackers: Attackers,
    known: Known,
    found: Findings,
) -> Entries:
    """Check all but postings; return the postings that the killmails should have."""
    ids = [row.killmail_id for row in stored.rows]
    found.killmails += len(ids) + len(stored.unreadable)
    found.unreadable |= stored.unreadable
    for row, derived in zip(stored.rows, stored.derived(), strict=True):
        if any(row._mapping[name] != value for name, value in derived.items()):
            found.columns.add(row.killmail_id)
    follow = attackers_derived(stored.versions)
    found.attackers |= {id_ for id_ in ids if attackers.get(id_, []) != follow.get(id_, [])}
    for id_ in unnumbered(stored.versions, known.label_ids):
        found.postings[id_] |= set()
    await _inspect_days(connection, stored, found)
    return entries_of([posted(version, known) for version in stored.versions])


async def _inspect_days(connection: AsyncConnection, stored: Stored, found: Findings) -> None:
    table = KILLMAIL_DAYS.c
    days = {_day(version.killmail.killmail_time) for version in stored.versions}
    rows = await connection.execute(select(KILLMAIL_DAYS).where(among(table.day, sorted(days))))
    bounds = {row.day: (row.first_killmail_id, row.last_killmail_id) for row in rows}
    for version in stored.versions:
        killmail_id = version.killmail.killmail_id
        first, last = bounds.get(_day(version.killmail.killmail_time), (1, 0))
        if not first <= killmail_id <= last:
            found.days.add(killmail_id)


async def _with_actual(
    connection: AsyncConnection, expected: Mapping[int, Row]
) -> list[tuple[int, Row, Any]]:
    """Pair expected rows with the stored ones (or None) from which they differ in any byte."""
    keys = list(expected)
    differing = []
    for start in range(0, len(keys), KEYS):
        some = keys[start : start + KEYS]
        query = select(POSTINGS).where(among(POSTINGS.c.key, some))
        actual = {row.key: row for row in await connection.execute(query)}
        for key in some:
            row, stored = expected[key], actual.get(key)
            if stored is None or (stored.places, stored.worths) != row or not _top_is_right(stored):
                differing.append((key, row, stored))
    return differing


def _top_is_right(stored: Any) -> bool:
    return bool(stored.worths) and stored.top == max(stored.worths)


def _differences(row: Row, stored: Any) -> set[int]:
    """List the places at which two rows differ; in which order they list them doesn't matter."""
    wanted = set(_pairs(row))
    if stored is None:
        return {place for place, _ in wanted}
    listed = list(_pairs(stored))
    wrong = {place for place, _ in wanted ^ set(listed)}
    is_broken = len(set(listed)) != len(listed) or len(stored.places) != 2 * len(stored.worths)
    if not wrong and (is_broken or not _top_is_right(stored)):
        wrong = {place for place, _ in listed[:1]}  # the repair of one rewrites the row
    return wrong


def _lacking(row: Row, stored: Any) -> set[int]:
    """List the places of a row that another lacks, or has with another code."""
    listed = set(_pairs(stored)) if stored is not None else set()
    return {place for place, _ in set(_pairs(row)) - listed}


def _pairs(row: Any) -> Iterator[tuple[int, int]]:
    return zip(places_of(row.places), row.worths, strict=False)


def _note_all(
    found: Findings,
    differing: Sequence[tuple[int, Row, Any]],
    compare: Callable[[Row, Any], set[int]],
) -> None:
    for key, row, actual in differing:
        for place in compare(row, actual):
            found.postings[base_of(key) + place].add(key >> WINDOW_BITS)


async def _apart(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run what takes a second for a block in a thread: the event loop may serve killmails."""
    return await in_daemon(partial(work, *args, **kwargs), "check")


def _together(entries: Sequence[Entries]) -> Entries:
    keys, places, codes = zip(*entries, strict=True)
    return Entries(np.concatenate(keys), np.concatenate(places), np.concatenate(codes))


def _day(time: Any) -> date:
    day: date = time.astimezone(UTC).date()
    return day
