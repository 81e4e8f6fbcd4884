"""Persist killmails: write their rows and feed entries in one transaction, then publish.

Step 4 of the flow. Takes references with bodies; writes rows and feed entries and publishes the
entries; invalid killmails are recorded in the table `rejected`. A failure is retried; after the
last try the message is in the dead-letter queue `database.XQ`.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.broker import DATABASE_QUEUE, actor
from actors.killmails.append import Unpublished, append_killmails
from actors.killmails.delay import hold_back
from actors.killmails.findable import known_for, make_findable
from actors.killmails.publish import publish_or_leave
from actors.killmails.refusal import is_refusal, reason_of
from actors.killmails.reject import publish_rejections, record_rejections
from actors.killmails.version import (
    Arrival,
    Change,
    Version,
    attacker_columns,
    body_columns,
    change,
    check_storable,
    merge,
    zkb_columns,
)
from actors.resources import resources
from actors.shared.ack import Acked, ack
from actors.shared.among import among
from actors.shared.clean import clean_object
from actors.shared.dictionaries import current_dictionary, read_bodies
from actors.shared.errors import Invalid
from actors.shared.feed import Entry
from actors.shared.killmail import killmail_hash, parse_killmail
from actors.shared.metrics import HASHES_CORRECTED, LATENCY, SKIPPED, STORED, ZKB_CLEANED
from actors.shared.reference import NO_JSON, Reference, decode_reference, origin_of
from actors.shared.rejection import encode_rejection
from actors.shared.rows import copy_all, insert_all, insert_missing
from actors.shared.tables import ATTACKERS, KILLMAILS

log: Final = structlog.get_logger()


@actor(queue_name=DATABASE_QUEUE, priority=0)
async def persist(references: list[bytes]) -> None:
    """Store killmails and publish them.

    Idempotent: a killmail that is stored already changes nothing; a later version of its zkb block
    or body adds an `updated` entry. The batch is one transaction, unless the database refuses part
    of it. What its owners delay is held back (see `actors.killmails.delay`).
    """
    await persist_all(references)


async def persist_all(references: Sequence[bytes], rejections: Sequence[bytes] = ()) -> None:
    """Do the work of `persist`; `rejections` are recorded in the same transaction."""
    arrivals, invalid = read(references)
    rejections = [*rejections, *invalid]
    unpublished, refused = await store_all(resources().database, arrivals, rejections)
    rejections += refused
    for one in unpublished:
        STORED.labels(kind=one.entry.kind, origin=one.entry.origin).inc()
    await publish_rejections(rejections)
    await publish_or_leave(unpublished)


def read(references: Iterable[bytes]) -> tuple[list[Arrival], list[bytes]]:
    """Parse a batch; returns a rejection with the reason for each invalid killmail."""
    arrivals, rejections = [], []
    for value in references:
        reference = None
        try:
            reference = decode_reference(value)
            arrivals.append(Arrival(value, reference, _version(reference)))
        except Invalid as error:
            rejections.append(encode_rejection(str(error), value, reference))
    return arrivals, rejections


def _version(reference: Reference) -> Version:
    killmail = parse_killmail(reference.body)
    if killmail.killmail_id != reference.killmail_id:
        raise Invalid(f"the body is of killmail {killmail.killmail_id}")
    check_storable(killmail)
    computed = killmail_hash(killmail)
    if reference.hash not in ("", computed):
        HASHES_CORRECTED.inc()
        log.warning(
            "killmail.hash_corrected",
            killmail_id=killmail.killmail_id,
            source=reference.source,
            given=reference.hash,
            computed=computed,
        )
    zkb = _clean_zkb(reference) if reference.zkb else NO_JSON
    zkb_as_of = reference.as_of if zkb else None
    return Version(
        killmail=killmail,
        killmail_hash=computed,
        body=reference.body,
        body_as_of=reference.as_of,
        zkb=zkb,
        zkb_as_of=zkb_as_of,
        origin=origin_of(reference.source),
    )


def _clean_zkb(reference: Reference) -> msgspec.Raw:
    """Remove from the zkb block what the database can't store; drop it when it isn't an object."""
    given = bytes(reference.zkb)
    try:
        clean, reason = clean_object(given), "it has values that the database can't store"
    except Invalid as error:
        clean, reason = b"", str(error)
    if clean != given:
        _report_zkb(reference, reason)
    return msgspec.Raw(clean) if clean else NO_JSON


def _report_zkb(reference: Reference, reason: str) -> None:
    ZKB_CLEANED.inc()
    log.warning(
        "killmail.zkb_cleaned",
        killmail_id=reference.killmail_id,
        source=reference.source,
        position=reference.position,
        reason=reason,
    )


async def store_all(
    database: AsyncEngine, arrivals: Sequence[Arrival], rejections: Sequence[bytes] = ()
) -> tuple[list[Unpublished[Entry]], list[bytes]]:
    """Store a batch; return the new feed entries and the rejections.

    A batch that the database refuses is halved until the refused killmail is alone and rejected.
    """
    try:
        return await store(database, arrivals, rejections), []
    except Exception as error:
        if not (is_refusal(error) and arrivals):
            raise
        reason = reason_of(error)
    if rejections:
        await store(database, (), rejections)
        return await store_all(database, arrivals)
    if len(arrivals) == 1:
        rejection = encode_rejection(reason, arrivals[0].value, arrivals[0].reference)
        await store(database, (), [rejection])
        return [], [rejection]
    half = len(arrivals) // 2
    first = await store_all(database, arrivals[:half])
    second = await store_all(database, arrivals[half:])
    return first[0] + second[0], first[1] + second[1]


async def store(
    database: AsyncEngine, arrivals: Sequence[Arrival], rejections: Sequence[bytes] = ()
) -> list[Unpublished[Entry]]:
    """Store a batch in one transaction; return the new feed entries in order.

    Every transaction locks in the same order: the lists of syncs (only for what they brought),
    delayed killmails, killmails by id, blocks of `postings`, ledger entries, then `feed_counter`.
    """
    known_terms = await known_for(database, [arrival.version for arrival in arrivals])
    async with database.begin() as connection:
        publishable, listed = await hold_back(connection, arrivals)
        latest = _latest(publishable)
        created_at = datetime.now(UTC)
        dictionary = await current_dictionary(connection)
        columns = body_columns(latest, dictionary) | zkb_columns(latest, dictionary)
        added = set(await insert_missing(connection, KILLMAILS, columns, created_at=created_at))
        fresh = [v for v in latest if v.killmail.killmail_id in added]
        if fresh:
            await copy_all(connection, ATTACKERS, attacker_columns(fresh))
        known = [v for v in latest if v.killmail.killmail_id not in added]
        changes = await _update(connection, known, dictionary) if known else []
        await make_findable(connection, known_terms, fresh, changes)
        updated = [one.version for one in changes if one.worth_an_entry]
        positions = [(a.reference.source, a.reference.position) for a in arrivals]
        rejected = await record_rejections(connection, rejections)
        acked = await ack(connection, [*positions, *listed, *rejected])
        appended = await append_killmails(
            connection, [*(("added", v) for v in fresh), *(("updated", v) for v in updated)]
        )
    SKIPPED.inc(len(publishable) - len(appended))
    _observe_latency(acked)
    return appended


def _observe_latency(acked: Iterable[Acked]) -> None:
    now = datetime.now(UTC)
    for one in acked:
        LATENCY.labels(stage="stored", origin=origin_of(one.source)).observe(
            max(0.0, (now - one.received_at).total_seconds())
        )


def _latest(arrivals: Iterable[Arrival]) -> list[Version]:
    """Merge the versions of each killmail; ordered by id."""
    latest: dict[int, Version] = {}
    for arrival in arrivals:
        killmail_id = arrival.version.killmail.killmail_id
        other = latest.get(killmail_id)
        latest[killmail_id] = merge(other, arrival.version) if other else arrival.version
    return [latest[killmail_id] for killmail_id in sorted(latest)]


async def _update(
    connection: AsyncConnection, known: Sequence[Version], dictionary: int
) -> list[Change]:
    """Update rows with later versions; return the changes."""
    by_id = {v.killmail.killmail_id: v for v in known}
    stored = await read_bodies(
        connection,
        select(
            KILLMAILS.c.killmail_id,
            KILLMAILS.c.body,
            KILLMAILS.c.body_as_of,
            KILLMAILS.c.zkb,
            KILLMAILS.c.zkb_as_of,
        )
        .where(among(KILLMAILS.c.killmail_id, list(by_id)))
        .order_by(KILLMAILS.c.killmail_id)
        .with_for_update(),
    )
    changes = [change(row, by_id[row.killmail_id], dictionary) for row in stored]
    later = [one for one in changes if one]
    for one in later:
        await _write(connection, one)
    return later


async def _write(connection: AsyncConnection, one: Change) -> None:
    killmail_id = one.version.killmail.killmail_id
    await connection.execute(
        update(KILLMAILS).where(KILLMAILS.c.killmail_id == killmail_id).values(one.columns)
    )
    if one.body_differs:
        await connection.execute(ATTACKERS.delete().where(ATTACKERS.c.killmail_id == killmail_id))
        await insert_all(connection, ATTACKERS, attacker_columns([one.version]))
