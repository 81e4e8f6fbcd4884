"""Every read of the database. Nothing here writes; each raises `DatabaseUnavailable` like it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
import structlog
import zstandard
from sqlalchemy import Select, func, literal, select, tuple_

from actors.shared.body import unpack
from actors.shared.errors import Invalid
from actors.shared.feed import Entry, entries_after, entry_of, names_of
from actors.shared.killmail import entity_ids
from actors.shared.tables import FEED, FEED_COUNTER, KILLMAILS, UNPUBLISHED, Utc
from api.database import ReadDatabase
from api.view import View

_log: Final = structlog.get_logger()

IDS_A_QUERY: Final = 5_000
"""Both databases take some 32,000 parameters in one query."""


_UNPLACED: Final = {
    "sequence": 0,
    "kind": "",
    "stored_at": datetime.fromtimestamp(0, UTC),
    "feed_id": "",
    "origin": "live",
}
"""What a killmail has in place of its feed's columns when it doesn't come from the feed."""


class FeedPosition(NamedTuple):
    """A sequence of the feed, without its killmail."""

    sequence: int
    published: bool


@dataclass(frozen=True)
class Position:
    """Where a page of killmails ended."""

    killmail_time: datetime
    killmail_id: int


async def last_sequence(database: ReadDatabase) -> int:
    """Read the feed's highest sequence; 0 when it is empty."""
    return await database.fetch_val(select(func.max(FEED.c.sequence))) or 0


async def feed_id(database: ReadDatabase) -> str:
    """Read what tells this feed from others; empty in a database that has never been migrated."""
    return await database.fetch_val(select(FEED_COUNTER.c.feed_id)) or ""


async def positions(database: ReadDatabase, after: int, limit: int) -> list[FeedPosition]:
    """Read which places follow a sequence, in order, and whether they were published."""
    query = (
        select(FEED.c.sequence, UNPUBLISHED.c.sequence.label("unpublished"))
        .outerjoin(UNPUBLISHED, UNPUBLISHED.c.sequence == FEED.c.sequence)
        .where(FEED.c.sequence > after)
        .order_by(FEED.c.sequence)
        .limit(limit)
    )
    rows = await database.fetch_all(query)
    return [FeedPosition(row["sequence"], row["unpublished"] is None) for row in rows]


async def feed_page(
    database: ReadDatabase,
    after: int,
    limit: int,
    *,
    upto: int | None = None,
    named: bool = True,
) -> list[View]:
    """Read the entries behind a sequence, in order, with the names known now.

    One whose stored body can't be read is logged and left out, as a hole is: it mustn't stop those
    behind it.
    """
    query = entries_after(after, limit)
    if upto is not None:
        query = query.where(FEED.c.sequence <= upto)
    rows = await database.fetch_all(query)
    views = [view for row in rows if (view := _readable(row._mapping))]
    return await _with_names(database, views) if named else views


async def killmail(database: ReadDatabase, killmail_id: int, *, named: bool = True) -> View | None:
    """Read one killmail."""
    views = await _killmails(database, KILLMAILS.c.killmail_id == killmail_id, 1, named)
    return views[0] if views else None


async def newest(
    database: ReadDatabase, after: Position | None, limit: int, *, named: bool = True
) -> list[View]:
    """Read killmails, newest first, behind a position. Its cost doesn't grow with the depth."""
    order = tuple_(KILLMAILS.c.killmail_time, KILLMAILS.c.killmail_id)
    where = (
        order < tuple_(literal(after.killmail_time, Utc), literal(after.killmail_id))
        if after
        else literal(True)
    )
    return await _killmails(database, where, limit, named)


async def body(database: ReadDatabase, killmail_id: int) -> bytes | None:
    """Read ESI's body, byte by byte as it came."""
    query = select(KILLMAILS.c.body).where(KILLMAILS.c.killmail_id == killmail_id)
    row = await database.fetch_one(query)
    return unpack(row["body"]) if row else None


async def names(database: ReadDatabase, ids: Collection[int]) -> dict[int, str]:
    """Read the known names among some ids."""
    wanted = sorted(ids)
    known: dict[int, str] = {}
    for start in range(0, len(wanted), IDS_A_QUERY):
        rows = await database.fetch_all(names_of(wanted[start : start + IDS_A_QUERY]))
        known.update((row["id"], row["name"]) for row in rows)
    return known


async def _killmails(database: ReadDatabase, where: Any, limit: int, named: bool) -> list[View]:
    query: Select[Any] = (
        select(
            KILLMAILS.c.killmail_id, KILLMAILS.c.killmail_hash, KILLMAILS.c.zkb, KILLMAILS.c.body
        )
        .where(where)
        .order_by(KILLMAILS.c.killmail_time.desc(), KILLMAILS.c.killmail_id.desc())
        .limit(limit)
    )
    rows = await database.fetch_all(query)
    entries = [entry_of({**_UNPLACED, **row._mapping}, {}) for row in rows]
    return await _views(database, entries, named)


async def _views(database: ReadDatabase, entries: Sequence[Entry], named: bool) -> list[View]:
    views = [View(entry) for entry in entries]
    return await _with_names(database, views) if named else views


async def _with_names(database: ReadDatabase, views: list[View]) -> list[View]:
    known = await names(database, set().union(*(entity_ids(v.killmail) for v in views)))
    for view in views:
        view.names = known
    return views


def _readable(row: Mapping[str, Any]) -> View | None:
    try:
        view = View(entry_of(row, {}))
        _ = view.killmail  # parsed here, where a fault stops nobody
    except (Invalid, zstandard.ZstdError, msgspec.MsgspecError, ValueError) as error:
        _log.error("feed.body_unreadable", sequence=row["sequence"], error=str(error))
        return None
    return view
