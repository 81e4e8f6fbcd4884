"""All reads of the gateway; each may raise `DatabaseUnavailable`."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
import structlog
import zstandard
from sqlalchemy import Select, func, literal, select, tuple_

from actors.shared.among import among
from actors.shared.body import unpack
from actors.shared.dictionaries import learn_dictionaries
from actors.shared.errors import Invalid
from actors.shared.feed import Entry, entries_after, entry_of, feed_entry_of, names_of
from actors.shared.killmail import entity_ids
from actors.shared.tables import FEED, FEED_COUNTER, KILLMAILS, UNPUBLISHED, Utc
from api.database import ReadDatabase
from api.static_data import StaticData
from api.view import FeedView, View, view_of

_log: Final = structlog.get_logger()

IDS_PER_QUERY: Final = 5_000
"""PostgreSQL and SQLite allow some 32,000 parameters in one query."""


_NO_FEED_COLUMNS: Final = {
    "sequence": 0,
    "kind": "",
    "stored_at": datetime.fromtimestamp(0, UTC),
    "feed_id": "",
    "origin": "live",
}
"""Values of the feed's columns for a killmail that isn't read from the feed."""


class FeedPosition(NamedTuple):
    """A sequence of the feed, and whether its entry can be delivered from the table."""

    sequence: int
    ready: bool
    """It was published, or is an imported day, which has no names that publishing would add."""


class Position(NamedTuple):
    """A killmail in the order of `by_time`."""

    killmail_time: datetime
    killmail_id: int


async def last_sequence(database: ReadDatabase) -> int:
    """Read the feed's last sequence; 0 when it is empty."""
    return await database.fetch_val(select(func.max(FEED.c.sequence))) or 0


async def first_sequence(database: ReadDatabase) -> int:
    """Read the feed's first sequence; 1 when it is empty."""
    return await database.fetch_val(select(func.min(FEED.c.sequence))) or 1


async def feed_id(database: ReadDatabase) -> str:
    """Read the feed's id; empty in a database that wasn't migrated yet."""
    return await database.fetch_val(select(FEED_COUNTER.c.feed_id)) or ""


async def positions(database: ReadDatabase, after: int, limit: int) -> list[FeedPosition]:
    """Read the sequences after a sequence, in order, and whether each is ready."""
    query = (
        select(FEED.c.sequence, FEED.c.kind, UNPUBLISHED.c.sequence.label("unpublished"))
        .outerjoin(UNPUBLISHED, UNPUBLISHED.c.sequence == FEED.c.sequence)
        .where(FEED.c.sequence > after)
        .order_by(FEED.c.sequence)
        .limit(limit)
    )
    rows = await database.fetch_all(query)
    return [
        FeedPosition(row["sequence"], row["unpublished"] is None or row["kind"] == "imported")
        for row in rows
    ]


async def feed_page(
    database: ReadDatabase,
    after: int,
    limit: int,
    *,
    up_to: int | None = None,
    with_names: bool = True,
) -> list[FeedView]:
    """Read the entries after a sequence, in order, with the names that are known now.

    An entry whose stored body can't be decoded is logged and omitted.
    """
    query = entries_after(after, limit)
    if up_to is not None:
        query = query.where(FEED.c.sequence <= up_to)
    rows = await database.fetch_all(query)
    await learn_dictionaries(database.fetch_all, rows)
    views = [view for row in rows if (view := _view_or_none(row._mapping, database.static))]
    if with_names:
        await add_names(database, [view for view in views if isinstance(view, View)])
    return views


async def killmail(
    database: ReadDatabase, killmail_id: int, *, with_names: bool = True
) -> View | None:
    """Read one killmail; None when it isn't stored."""
    views = await matching(
        database, KILLMAILS.c.killmail_id == killmail_id, 1, with_names=with_names
    )
    return views[0] if views else None


def position_of(view: View) -> Position:
    """Return a killmail's position in the order of `by_time`."""
    return Position(view.killmail.killmail_time, view.killmail.killmail_id)


async def by_time(
    database: ReadDatabase,
    after: Position | None,
    limit: int,
    *,
    newest_first: bool = True,
    with_names: bool = True,
) -> list[View]:
    """Read killmails after a position, by time; the position doesn't change the cost."""
    where: Any = literal(True)
    if after:
        order = tuple_(KILLMAILS.c.killmail_time, KILLMAILS.c.killmail_id)
        here: Any = tuple_(literal(after.killmail_time, Utc), literal(after.killmail_id))
        where = order < here if newest_first else order > here
    return await matching(database, where, limit, newest_first=newest_first, with_names=with_names)


async def by_ids(
    database: ReadDatabase, ids: Collection[int], *, with_names: bool = True
) -> dict[int, View]:
    """Read the killmails of these ids that are stored."""
    wanted = set(ids)
    views = await matching(
        database, among(KILLMAILS.c.killmail_id, wanted), len(wanted), with_names=with_names
    )
    return {view.entry.killmail_id: view for view in views}


async def body(database: ReadDatabase, killmail_id: int) -> bytes | None:
    """Read ESI's body, byte for byte as received; None when it isn't stored."""
    query = select(KILLMAILS.c.body).where(KILLMAILS.c.killmail_id == killmail_id)
    row = await database.fetch_one(query)
    if row is None:
        return None
    await learn_dictionaries(database.fetch_all, [row])
    return unpack(row["body"])


async def names(database: ReadDatabase, ids: Collection[int]) -> dict[int, str]:
    """Read the known names of some ids."""
    wanted = sorted(ids)
    known: dict[int, str] = {}
    for start in range(0, len(wanted), IDS_PER_QUERY):
        rows = await database.fetch_all(names_of(wanted[start : start + IDS_PER_QUERY]))
        known.update((row["id"], row["name"]) for row in rows)
    return known


async def matching(
    database: ReadDatabase,
    where: Any,
    limit: int,
    *,
    newest_first: bool = True,
    with_names: bool = True,
) -> list[View]:
    """Read the killmails that match a condition, by time."""
    order = (KILLMAILS.c.killmail_time, KILLMAILS.c.killmail_id)
    query: Select[Any] = (
        select(
            KILLMAILS.c.killmail_id, KILLMAILS.c.killmail_hash, KILLMAILS.c.zkb, KILLMAILS.c.body
        )
        .where(where)
        .order_by(*(column.desc() if newest_first else column for column in order))
        .limit(limit)
    )
    rows = await database.fetch_all(query)
    await learn_dictionaries(database.fetch_all, rows)
    entries = [entry for row in rows if (entry := _killmail_or_none(row._mapping))]
    return await _views(database, entries, with_names)


async def _views(database: ReadDatabase, entries: Sequence[Entry], with_names: bool) -> list[View]:
    views = [View(entry, database.static) for entry in entries]
    return await add_names(database, views) if with_names else views


async def add_names(database: ReadDatabase, views: list[View]) -> list[View]:
    """Add the names that are known now."""
    known = await names(database, set().union(*(entity_ids(v.killmail) for v in views)))
    for view in views:
        view.names = known
    return views


def _killmail_or_none(row: Mapping[str, Any]) -> Entry | None:
    try:
        return entry_of({**_NO_FEED_COLUMNS, **row}, {})
    except zstandard.ZstdError as error:
        _log.error("killmail.unreadable", killmail_id=row["killmail_id"], reason=str(error))
        return None


def _view_or_none(row: Mapping[str, Any], static: StaticData) -> FeedView | None:
    try:
        view = view_of(feed_entry_of(row), static)
        if isinstance(view, View):
            _ = view.killmail  # parsed here, where an error concerns this entry only
    except (Invalid, zstandard.ZstdError, msgspec.MsgspecError, ValueError) as error:
        _log.error("feed.body_unreadable", sequence=row["sequence"], error=str(error))
        return None
    return view
