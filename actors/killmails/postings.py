"""Write postings in the transaction that stores their killmails.

A block of killmail ids is locked before its rows: shared by transactions that only add killmails,
exclusively by those that correct some or check the block. So rows are read and written back safely,
and transactions that only add lock the rows in the order of their keys.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import date
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import case, delete, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.shared.among import among
from actors.shared.finding.kinds import (
    BLOCK_BITS,
    ID_BITS,
    WIDTHS,
    WINDOW_BITS,
    code_of,
    key_of,
    width_of,
)
from actors.shared.rows import insert_into
from actors.shared.tables import KILLMAIL_DAYS, POSTINGS

_LOCK: Final = 1_263_424_595
"""PostgreSQL's advisory locks of blocks: the first of their two numbers."""

_WIDTHS: Final = np.array([WIDTHS.get(kind, 0) for kind in range(max(WIDTHS) + 1)], np.int64)


class Row(NamedTuple):
    """What a window lists for a term: places in the window and codes of values, side by side."""

    places: bytes
    """Two bytes each, little endian."""
    worths: bytes


class Entries(NamedTuple):
    """Places in windows and codes of values, by key."""

    keys: NDArray[np.int64]
    places: NDArray[np.uint16]
    codes: NDArray[np.uint8]


class Posted(NamedTuple):
    """What postings say of a killmail."""

    killmail_id: int
    terms: Set[int]
    total_value: float | None


class Correction(NamedTuple):
    """A killmail whose postings change."""

    before: Set[int]
    """Its terms as stored until now."""
    after: Posted


async def lock_blocks(
    connection: AsyncConnection, killmail_ids: Iterable[int], *, exclusive: bool
) -> None:
    """Lock the blocks of killmails until the commit, in their order."""
    blocks = sorted({killmail_id >> BLOCK_BITS for killmail_id in killmail_ids})
    if not blocks or connection.dialect.name != "postgresql":  # SQLite has one writer anyway
        return
    function = "pg_advisory_xact_lock" if exclusive else "pg_advisory_xact_lock_shared"
    statement = f"SELECT {function}(:lock, block) FROM unnest(CAST(:blocks AS int[])) AS block"
    await connection.execute(text(statement), {"lock": _LOCK, "blocks": blocks})


async def add_postings(connection: AsyncConnection, added: Sequence[Posted]) -> None:
    """List killmails that were stored just now, under a lock of their blocks."""
    await _append(connection, rows_of(added))


def rows_of(posted: Sequence[Posted]) -> dict[int, Row]:
    """Make the rows that list these killmails, in order of their keys.

    A row lists its killmails in the given order.
    """
    return grouped(entries_of(posted))


def entries_of(posted: Sequence[Posted]) -> Entries:
    """List the keys of killmails, one after the other."""
    counts = [len(one.terms) for one in posted]
    terms = np.fromiter((term for one in posted for term in one.terms), np.int64, sum(counts))
    ids = np.repeat(np.array([one.killmail_id for one in posted], np.int64), counts)
    codes = np.repeat(np.array([code_of(one.total_value) for one in posted], np.uint8), counts)
    widths = _WIDTHS[terms >> ID_BITS]
    keys = terms << WINDOW_BITS | ids >> widths
    return Entries(keys, (ids & (1 << widths) - 1).astype("<u2"), codes)


def grouped(entries: Entries) -> dict[int, Row]:
    """Make rows of entries, in order of their keys."""
    order = np.argsort(entries.keys, kind="stable")
    keys, firsts = np.unique(entries.keys[order], return_index=True)
    places = entries.places[order].tobytes()
    worths = entries.codes[order].tobytes()
    bounds = [*firsts.tolist(), len(worths)]
    return {
        key: Row(places[2 * first : 2 * end], worths[first:end])
        for key, (first, end) in zip(keys.tolist(), pairwise(bounds), strict=True)
    }


def blocks_of(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the block of killmail ids of each row."""
    blocks: NDArray[np.int64] = (keys & (1 << WINDOW_BITS) - 1) >> BLOCK_BITS - _WIDTHS[
        keys >> WINDOW_BITS + ID_BITS
    ]
    return blocks


async def correct_postings(connection: AsyncConnection, corrections: Sequence[Correction]) -> None:
    """Bring the postings of killmails up to date, under an exclusive lock of their blocks.

    What isn't listed yet is listed then.
    """
    wanted: dict[int, dict[int, int | None]] = defaultdict(dict)
    for before, after in corrections:
        code = code_of(after.total_value)
        for term in before | after.terms:
            place = _place(term, after.killmail_id)
            key = key_of(term, after.killmail_id)
            wanted[key][place] = code if term in after.terms else None
    rows = await connection.execute(select(POSTINGS).where(among(POSTINGS.c.key, list(wanted))))
    stored = {row.key: row for row in rows}
    changed, gone = {}, []
    for key, places in wanted.items():
        row = stored.get(key)
        before_ = dict(zip(places_of(row.places), row.worths, strict=False)) if row else {}
        after_ = {p: c for p, c in (before_ | places).items() if c is not None}
        if after_ != before_ or (row and not _is_intact(row, before_)):
            packed = np.fromiter(after_, "<u2", len(after_)).tobytes()
            changed[key] = Row(packed, bytes(after_.values()))
            if row:
                gone.append(key)
    if gone:
        await connection.execute(delete(POSTINGS).where(among(POSTINGS.c.key, gone)))
    await _append(connection, {key: row for key, row in changed.items() if row.places})


async def extend_days(connection: AsyncConnection, killmails: Iterable[tuple[date, int]]) -> None:
    """Extend the bounds of days to killmails, given by day (UTC) and id."""
    days: dict[date, tuple[int, int]] = {}
    for day, killmail_id in killmails:
        low, high = days.get(day, (killmail_id, killmail_id))
        days[day] = (min(low, killmail_id), max(high, killmail_id))
    if not days:
        return
    insert = insert_into(connection, KILLMAIL_DAYS)
    old, new = KILLMAIL_DAYS.c, insert.excluded
    first, last = old.first_killmail_id, old.last_killmail_id
    lower, higher = new.first_killmail_id, new.last_killmail_id
    statement = insert.on_conflict_do_update(
        index_elements=[old.day],
        set_={
            "first_killmail_id": case((lower < first, lower), else_=first),
            "last_killmail_id": case((higher > last, higher), else_=last),
        },
    )
    values = [
        {"day": day, "first_killmail_id": low, "last_killmail_id": high}
        for day, (low, high) in sorted(days.items())
    ]
    await connection.execute(statement, values)


def _place(term: int, killmail_id: int) -> int:
    return killmail_id & (1 << width_of(term)) - 1


def places_of(packed: bytes) -> list[int]:
    """Unpack the places of a row."""
    places: list[int] = np.frombuffer(packed, "<u2", len(packed) // 2).tolist()
    return places


def _is_intact(row: Any, codes: Mapping[int, int]) -> bool:
    length = len(codes)
    return 0 < length == len(row.worths) == len(row.places) / 2 and row.top == max(row.worths)


async def _append(connection: AsyncConnection, rows: Mapping[int, Row]) -> None:
    """Append to rows, in the order of their keys; those that are absent are inserted."""
    if not rows:
        return
    keys = sorted(rows)
    tops = [max(rows[key].worths) for key in keys]
    places = [rows[key].places for key in keys]
    worths = [rows[key].worths for key in keys]
    if connection.dialect.name == "postgresql":
        await connection.exec_driver_sql(_APPEND_POSTGRESQL, (keys, tops, places, worths))
    else:
        columns = zip(keys, tops, places, worths, strict=True)
        await connection.exec_driver_sql(_APPEND_SQLITE, list(columns))


_APPEND_POSTGRESQL: Final = (
    "INSERT INTO postings AS p (key, top, places, worths)"
    " SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::bytea[], $4::bytea[])"
    " ON CONFLICT (key) DO UPDATE SET top = greatest(p.top, excluded.top),"
    " places = p.places || excluded.places, worths = p.worths || excluded.worths"
)
_APPEND_SQLITE: Final = (  # `||` makes text of blobs
    "INSERT INTO postings (key, top, places, worths) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (key) DO UPDATE SET top = max(top, excluded.top),"
    " places = CAST(places || excluded.places AS BLOB),"
    " worths = CAST(worths || excluded.worths AS BLOB)"
)
