"""Read the killmails of a day, all from one state of the database."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.shared.body import unpack, unpack_zkb
from actors.shared.database import reading
from actors.shared.dictionaries import read_bodies
from actors.shared.tables import FEED, FEED_COUNTER, IMPORTED_DAYS, KILLMAILS

KILLMAILS_PER_QUERY: Final = 200
ENTRIES_PER_QUERY: Final = 20_000
DAY: Final = timedelta(days=1)


class Stored(NamedTuple):
    """A killmail as the database has it."""

    killmail_id: int
    killmail_hash: str
    body: bytes
    """ESI's body, byte for byte."""
    zkb: str | None
    """zKillboard's block as JSON."""


class Feed(NamedTuple):
    """The feed in one state of the database."""

    feed_id: str
    last_sequence: int


async def read_feed(connection: AsyncConnection) -> Feed:
    """Read the id of the feed and its last sequence."""
    columns = FEED_COUNTER.c.feed_id, FEED_COUNTER.c.last_sequence
    return Feed(*(await connection.execute(select(*columns))).one())


async def count_killmails(connection: AsyncConnection, day: date) -> int:
    """Count the killmails of a day."""
    start = start_of(day)
    time_ = KILLMAILS.c.killmail_time
    query = select(func.count()).where(time_ >= start, time_ < start + DAY)
    return await connection.scalar(query) or 0


async def killmails_of(connection: AsyncConnection, day: date) -> AsyncIterator[Sequence[Any]]:
    """Give the rows of a day by time and id, in pages. Their number doesn't change the memory."""
    columns, start = KILLMAILS.c, start_of(day)
    key = columns.killmail_time, columns.killmail_id
    types = [column.type for column in key]
    chosen = select(*key, columns.killmail_hash, columns.body, columns.zkb).order_by(*key)
    after = (start, -1)
    while True:
        query = chosen.where(
            tuple_(*key) > tuple_(*after, types=types), columns.killmail_time < start + DAY
        ).limit(KILLMAILS_PER_QUERY)
        rows = await read_bodies(connection, query)
        yield rows
        if len(rows) < KILLMAILS_PER_QUERY:
            return
        after = (rows[-1].killmail_time, rows[-1].killmail_id)


def unpacked(row: Any) -> Stored:
    """Decompress a row's body and zkb block."""
    return Stored(
        row.killmail_id, row.killmail_hash, unpack(row.body), unpack_zkb(row.zkb).decode() or None
    )


async def changed_days(database: AsyncEngine, exported: Mapping[date, int]) -> set[date]:
    """Find the days with killmails that were added or updated, or imported, after their sequence.

    Reads the feed from the lowest of the sequences, in steps.
    """
    changed: set[date] = set()
    if not exported:
        return changed
    time_ = KILLMAILS.c.killmail_time
    in_range = (time_ >= start_of(min(exported))) & (time_ < start_of(max(exported)) + DAY)
    entries = select(FEED.c.sequence, time_).join_from(
        FEED, KILLMAILS, FEED.c.killmail_id == KILLMAILS.c.killmail_id
    )
    imported = select(IMPORTED_DAYS.c.sequence, IMPORTED_DAYS.c.day).where(
        IMPORTED_DAYS.c.sequence > min(exported.values())
    )
    async with reading(database) as connection:
        last = (await read_feed(connection)).last_sequence
        for after in range(min(exported.values()), last, ENTRIES_PER_QUERY):
            step = FEED.c.sequence.between(after + 1, after + ENTRIES_PER_QUERY)
            for row in await connection.execute(entries.where(step, in_range)):
                day = row.killmail_time.date()
                if row.sequence > exported.get(day, last):
                    changed.add(day)
        for row in await connection.execute(imported):
            if row.sequence > exported.get(row.day, row.sequence):
                changed.add(row.day)
    return changed


def start_of(day: date) -> datetime:
    """Return the first moment of a day."""
    return datetime.combine(day, time(), UTC)
