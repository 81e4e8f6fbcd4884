"""Read the feed for what it mentions: entities to refresh, and days whose snapshots changed."""

import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.broker import DATABASE_QUEUE, actor
from actors.entities.kinds import ALLIANCE, CHARACTER, CORPORATION, TYPE, Kind
from actors.entities.want import want
from actors.resources import resources
from actors.shared.among import among
from actors.shared.body import parse_stored
from actors.shared.dictionaries import read_bodies
from actors.shared.killmail import Attacker, Killmail, Victim
from actors.shared.rows import insert_missing
from actors.shared.tables import FEED, FEED_READERS, IMPORTED_DAYS, KILLMAILS
from actors.snapshots.days import mark_changed

READER: Final = "entities"
ENTRIES: Final = 500
"""Entries of the feed in one transaction."""
WORKS_FOR_S: Final = 20.0
"""How long one message reads; the next one goes on."""
NEWS: Final = timedelta(hours=1)
"""Age of an entry after which its entities aren't refreshed for its sake."""
BODIES: Final = 500
"""Bodies that are read at once."""


@actor(queue_name=DATABASE_QUEUE, priority=7, scheduled=True)
async def follow_feed() -> None:
    """Read the feed from where the last call ended. Safe to run at once in several processes.

    Sequences follow the order of commits, so nothing is passed over. Only entries of the live feed
    have their entities refreshed, not those of an import of history.
    """
    until_s = time.monotonic() + WORKS_FOR_S
    while await _read_page() == ENTRIES and time.monotonic() < until_s:
        pass


async def _read_page() -> int:
    async with resources().database.begin() as connection:
        after = await _lock(connection)
        if after is None:
            return 0
        entries = (await connection.execute(_page(after))).all()
        if entries:
            await mark_changed(connection, {_day(entry) for entry in entries})
            await _want(connection, [entry for entry in entries if _is_news(entry)])
            await connection.execute(
                update(FEED_READERS)
                .where(FEED_READERS.c.name == READER)
                .values(sequence=entries[-1].sequence)
            )
    return len(entries)


async def _lock(connection: AsyncConnection) -> int | None:
    """Lock the reader's position; None while another process reads."""
    await insert_missing(connection, FEED_READERS, {"name": [READER], "sequence": [0]})
    query = select(FEED_READERS.c.sequence).where(FEED_READERS.c.name == READER)
    after: int | None = await connection.scalar(query.with_for_update(skip_locked=True))
    return after


def _page(after: int) -> Any:
    return (
        select(FEED, KILLMAILS.c.killmail_time, IMPORTED_DAYS.c.day)
        .outerjoin(KILLMAILS, KILLMAILS.c.killmail_id == FEED.c.killmail_id)
        .outerjoin(IMPORTED_DAYS, IMPORTED_DAYS.c.sequence == FEED.c.sequence)
        .where(FEED.c.sequence > after)
        .order_by(FEED.c.sequence)
        .limit(ENTRIES)
    )


def _day(entry: Any) -> date:
    """Return the day (UTC) that an entry changes."""
    day: date = entry.day if entry.kind == "imported" else entry.killmail_time.date()
    return day


def _is_news(entry: Any) -> bool:
    return bool(entry.origin == "live" and entry.stored_at > datetime.now(UTC) - NEWS)


async def _want(connection: AsyncConnection, entries: Sequence[Any]) -> None:
    mentioned = await ids_of(connection, [entry.killmail_id for entry in entries])
    for kind, ids in mentioned.items():
        await want(connection, kind, ids, is_seen=True)


async def ids_of(connection: AsyncConnection, killmail_ids: Sequence[int]) -> dict[Kind, set[int]]:
    """Read the entities that killmails mention: those of victims and attackers."""
    ids: dict[Kind, set[int]] = defaultdict(set)
    unique = sorted(set(killmail_ids))
    key = KILLMAILS.c.killmail_id
    for start in range(0, len(unique), BODIES):
        some = among(key, unique[start : start + BODIES])
        for row in await read_bodies(connection, select(key, KILLMAILS.c.body).where(some)):
            killmail = parse_stored(row.killmail_id, row.body)
            if killmail is not None:
                _add_mentioned(ids, killmail)
    return ids


def _add_mentioned(ids: dict[Kind, set[int]], killmail: Killmail) -> None:
    sides: Sequence[Victim | Attacker] = (killmail.victim, *killmail.attackers)
    mentioned = {
        CHARACTER: {side.character_id for side in sides},
        CORPORATION: {side.corporation_id for side in sides},
        ALLIANCE: {side.alliance_id for side in sides},
        TYPE: {side.ship_type_id for side in sides}
        | {attacker.weapon_type_id for attacker in killmail.attackers},
    }
    for kind, of_kind in mentioned.items():
        ids[kind].update(id_ for id_ in of_kind if id_ is not None)
