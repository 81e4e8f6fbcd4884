"""Publish feed entries: resolve names, send to channel and topic, delete from `unpublished`.

Step 5 of the flow. The entries are committed before: after a failure the sweep publishes what is
still in `unpublished`, so topic and channel get each entry at least once.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import structlog
from aiokafka.errors import KafkaError
from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError

from actors.broker import DATABASE_QUEUE, actor
from actors.killmails.append import Unpublished
from actors.names.resolve import known_names
from actors.resources import resources
from actors.shared import topics
from actors.shared.among import among
from actors.shared.database import reading
from actors.shared.dictionaries import read_bodies
from actors.shared.events import NotPublished
from actors.shared.feed import (
    CHANNEL,
    Entry,
    FeedEntry,
    encode_entry,
    entries_after,
    feed_entry_of,
    join_entries,
    truncated_entry_of,
)
from actors.shared.killmail import entity_ids, parse_killmail
from actors.shared.metrics import LATENCY, PUBLISHED, TRUNCATED
from actors.shared.outage import Outage
from actors.shared.produce import produce
from actors.shared.reference import NO_JSON
from actors.shared.tables import FEED, UNPUBLISHED

log: Final = structlog.get_logger()

SWEEP_AFTER: Final = timedelta(seconds=20)
"""Age at which an entry is swept; publishing takes far less."""
SWEEP_ENTRIES: Final = 500
"""Entries in one batch of a sweep."""
OUTAGES: Final = (KafkaError, NotPublished, SQLAlchemyError, OSError)
"""Errors of a server, not of an entry."""


LEFT_OUT: Final = (("killmail",), ("killmail", "zkb", "names"))
"""Fields left out of an entry that is too large for its topic: first try, second try."""


_sweeping: Final = asyncio.Lock()
_outage: Final = Outage("Kafka or Redis, for publishing")


async def publish_or_leave(unpublished: Sequence[Unpublished[FeedEntry]]) -> None:
    """Publish entries, or leave them to the sweep while Kafka or Redis is unavailable."""
    try:
        await publish(unpublished)
    except OUTAGES as error:
        _outage.failed(error)
    else:
        if unpublished:
            _outage.worked()


async def publish(unpublished: Sequence[Unpublished[FeedEntry]]) -> None:
    """Publish entries on channel and topic, then delete them from `unpublished`."""
    if not unpublished:
        return
    ids = [entity_ids(one.killmail) if one.killmail else set() for one in unpublished]
    names = await known_names(set().union(*ids), resources().settings.names_deadline_ms)
    entries = [_named(one.entry, some, names) for one, some in zip(unpublished, ids, strict=True)]
    values = [encode_entry(entry) for entry in entries]
    whole = (v for entry, v in zip(entries, values, strict=True) if not entry.truncated)
    await asyncio.gather(
        resources().events.publish(CHANNEL, join_entries(whole)), _produce(entries, values)
    )
    await _mark_published(entry.sequence for entry in entries)
    PUBLISHED.inc(len(unpublished))
    now = datetime.now(UTC).timestamp()
    for entry in entries:
        LATENCY.labels(stage="published", origin=entry.origin).observe(
            max(0.0, now - entry.stored_at)
        )


@actor(queue_name=DATABASE_QUEUE, priority=5, scheduled=True)
async def sweep() -> None:
    """Publish entries that were stored and not published, as after a crash between the two.

    An entry that can't be published is skipped until the next sweep. Does nothing while another
    sweep runs in this process.
    """
    if _sweeping.locked():
        return
    async with _sweeping:
        after = 0
        while overdue := await _overdue(after):
            log.info("publish.sweep_started", entries=len(overdue))
            after = overdue[-1].entry.sequence
            await _publish_or_skip(overdue)


async def _publish_or_skip(unpublished: Sequence[Unpublished[FeedEntry]]) -> None:
    try:
        await publish(unpublished)
    except OUTAGES:
        raise
    except Exception as error:  # one entry must not block those behind it
        if len(unpublished) > 1:
            for one in unpublished:
                await _publish_or_skip([one])
        else:
            sequence = unpublished[0].entry.sequence
            log.error("publish.entry_skipped", sequence=sequence, reason=repr(error))


def _named(entry: FeedEntry, ids: Collection[int], names: dict[int, str]) -> FeedEntry:
    if not isinstance(entry, Entry):
        return entry
    known = {entity_id: names[entity_id] for entity_id in ids if entity_id in names}
    return msgspec.structs.replace(entry, names=known)


async def _produce(entries: Sequence[FeedEntry], values: Sequence[bytes]) -> None:
    """Send entries to their topic; returns when Kafka has stored them all.

    An entry that is too large for the topic is sent without its body or, if it is still too large,
    without zkb block and names, too.
    """
    too_large = await _send(entries, values)
    if too_large:
        TRUNCATED.labels(topic=topics.STORED.name).inc(len(too_large))
    for left_out in LEFT_OUT:
        if not too_large:
            return
        entries = [_truncated(entries[index], left_out) for index in too_large]
        too_large = await _send(entries, [encode_entry(entry) for entry in entries])


async def _send(entries: Sequence[FeedEntry], values: Sequence[bytes]) -> list[int]:
    topic = resources().settings.named(topics.STORED.name)
    keys = [entry.key for entry in entries]
    too_large = await produce(resources().producer, topic, list(zip(keys, values, strict=True)))
    for index in too_large:
        log.warning("message.too_large", topic=topic, bytes=len(values[index]))
    return too_large


def _truncated(entry: FeedEntry, left_out: Collection[str]) -> FeedEntry:
    if not isinstance(entry, Entry):
        return entry
    empty = {"killmail": NO_JSON, "zkb": NO_JSON, "names": {}}
    return msgspec.structs.replace(
        entry, truncated=True, **{name: empty[name] for name in left_out}
    )


async def _mark_published(sequences: Iterable[int]) -> None:
    async with resources().database.begin() as connection:
        published = (
            select(UNPUBLISHED.c.sequence)
            .where(among(UNPUBLISHED.c.sequence, list(sequences)))
            .order_by(UNPUBLISHED.c.sequence)
            .with_for_update()
        )
        await connection.execute(delete(UNPUBLISHED).where(UNPUBLISHED.c.sequence.in_(published)))


async def _overdue(after: int) -> list[Unpublished[FeedEntry]]:
    unpublished = (
        select(UNPUBLISHED.c.sequence)
        .join(FEED, FEED.c.sequence == UNPUBLISHED.c.sequence)
        .where(UNPUBLISHED.c.sequence > after, FEED.c.stored_at < datetime.now(UTC) - SWEEP_AFTER)
        .order_by(UNPUBLISHED.c.sequence)
        .limit(SWEEP_ENTRIES)
    )
    async with reading(resources().database) as connection:
        entries = entries_after(after, SWEEP_ENTRIES).where(FEED.c.sequence.in_(unpublished))
        rows = await read_bodies(connection, entries)
        return [_stored(row._mapping) for row in rows]


def _stored(row: Mapping[str, Any]) -> Unpublished[FeedEntry]:
    try:
        entry = feed_entry_of(row)
        killmail = parse_killmail(entry.killmail) if isinstance(entry, Entry) else None
        return Unpublished(entry, killmail)
    except Exception as error:  # an unreadable row must not block those behind it
        log.error("publish.entry_truncated", sequence=row["sequence"], reason=repr(error))
        return Unpublished(truncated_entry_of(row), None)
