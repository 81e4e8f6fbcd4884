"""Tell of what was stored: names first, then the push channel, the topic, and the mark.

Step 5 of a killmail's way. Whatever happens here, the row is safe: the sweep tells again what
wasn't marked, so topic and channel get each entry at least once.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import structlog
from sqlalchemy import delete, select

from actors.broker import DATABASE_QUEUE, actor
from actors.names.resolve import known_names
from actors.resources import resources
from actors.shared import topics
from actors.shared.database import reading
from actors.shared.feed import CHANNEL, Entry, encode_entry, entries_after, entry_of, join_entries
from actors.shared.killmail import Killmail, entity_ids, parse_killmail
from actors.shared.metrics import PUBLISHED
from actors.shared.rows import among
from actors.shared.tables import FEED, UNPUBLISHED

log: Final = structlog.get_logger()

SWEEP_AFTER: Final = timedelta(seconds=20)
"""Age at which an entry counts as forgotten; telling takes far less."""
SWEEP_ENTRIES: Final = 500
"""Entries published in one sweep."""


@dataclass(frozen=True)
class Unpublished:
    """A stored entry, still without names, with its killmail parsed."""

    entry: Entry
    killmail: Killmail


async def publish(unpublished: Sequence[Unpublished]) -> None:
    """Tell of entries on channel and topic, then mark them published."""
    if not unpublished:
        return
    ids = [entity_ids(place.killmail) for place in unpublished]
    names = await known_names(set().union(*ids), resources().settings.names_deadline_ms)
    entries = [
        (place.killmail.killmail_id, encode_entry(_named(place.entry, some, names)))
        for place, some in zip(unpublished, ids, strict=True)
    ]
    await asyncio.gather(
        resources().events.publish(CHANNEL, join_entries(value for _, value in entries)),
        _produce(entries),
    )
    await _mark(place.entry.sequence for place in unpublished)
    PUBLISHED.inc(len(unpublished))


@actor(queue_name=DATABASE_QUEUE, priority=5, scheduled=True)
async def sweep() -> None:
    """Tell of entries that were stored and never published, as after a crash between the two."""
    while forgotten := await _forgotten():
        log.info("telling what was left unpublished", entries=len(forgotten))
        await publish(forgotten)


def _named(entry: Entry, ids: Collection[int], names: dict[int, str]) -> Entry:
    known = {entity_id: names[entity_id] for entity_id in ids if entity_id in names}
    return msgspec.structs.replace(entry, names=known)


async def _produce(entries: Iterable[tuple[int, bytes]]) -> None:
    """Put entries on their topic; returns when Kafka has them all."""
    producer = resources().producer
    topic = resources().settings.named(topics.STORED.name)
    sent = [
        await producer.send(topic, value, key=str(killmail_id).encode())
        for killmail_id, value in entries
    ]
    await asyncio.gather(*sent)


async def _mark(sequences: Iterable[int]) -> None:
    async with resources().database.begin() as connection:
        published = (
            select(UNPUBLISHED.c.sequence)
            .where(among(connection, UNPUBLISHED.c.sequence, list(sequences)))
            .order_by(UNPUBLISHED.c.sequence)
            .with_for_update()
        )
        await connection.execute(delete(UNPUBLISHED).where(UNPUBLISHED.c.sequence.in_(published)))


async def _forgotten() -> list[Unpublished]:
    unpublished = (
        select(UNPUBLISHED.c.sequence)
        .join(FEED, FEED.c.sequence == UNPUBLISHED.c.sequence)
        .where(FEED.c.stored_at < datetime.now(UTC) - SWEEP_AFTER)
        .order_by(UNPUBLISHED.c.sequence)
        .limit(SWEEP_ENTRIES)
    )
    async with reading(resources().database) as connection:
        rows = await connection.execute(
            entries_after(0, SWEEP_ENTRIES).where(FEED.c.sequence.in_(unpublished))
        )
        entries = [entry_of(row._mapping, {}) for row in rows]
    return [Unpublished(entry, parse_killmail(entry.killmail)) for entry in entries]
