"""Keep killmails: one transaction for their rows and their places in the feed, then tell.

Step 4 of a killmail's way. Takes references with bodies; gives rows, feed entries and what
`publish` passes on; what is no killmail goes to `rejected`. Whatever fails is retried; after the
last try the message is in the dead-letter queue `database.XQ`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.broker import DATABASE_QUEUE, actor
from actors.killmails.publish import Unpublished, publish
from actors.killmails.reject import publish_rejections, record_rejections
from actors.resources import resources
from actors.shared.ack import ack
from actors.shared.body import pack, unpack
from actors.shared.errors import Invalid
from actors.shared.feed import Entry
from actors.shared.killmail import Killmail, parse_killmail
from actors.shared.metrics import SKIPPED, STORED
from actors.shared.reference import Reference, decode_reference
from actors.shared.rejection import encode_rejection
from actors.shared.rows import Columns, among, insert_missing
from actors.shared.tables import ATTACKERS, FEED, FEED_COUNTER, KILLMAILS, UNPUBLISHED


@dataclass(frozen=True)
class Arrival:
    """A reference whose body was understood."""

    reference: Reference
    killmail: Killmail


@actor(queue_name=DATABASE_QUEUE, priority=0)
async def persist(references: list[bytes]) -> None:
    """Store killmails and tell of them.

    Idempotent: what is stored already changes nothing and tells nobody; a later version of
    zkb or body becomes an `updated` entry. The whole batch is one transaction.
    """
    arrivals, rejections = read(references)
    unpublished = await store(resources().database, arrivals, rejections)
    for place in unpublished:
        STORED.labels(kind=place.entry.kind).inc()
    SKIPPED.inc(len(references) - len(unpublished) - len(rejections))
    await publish_rejections(rejections)
    await publish(unpublished)


def read(references: Iterable[bytes]) -> tuple[list[Arrival], list[bytes]]:
    """Parse a batch; what is no killmail becomes a rejection with the reason."""
    arrivals, rejections = [], []
    for value in references:
        reference = None
        try:
            reference = decode_reference(value)
            killmail = parse_killmail(reference.body)
            if killmail.killmail_id != reference.killmail_id:
                raise Invalid(f"the body is of killmail {killmail.killmail_id}")
        except Invalid as error:
            rejections.append(encode_rejection(str(error), value, reference))
        else:
            arrivals.append(Arrival(reference, killmail))
    return arrivals, rejections


async def store(
    database: AsyncEngine, arrivals: Sequence[Arrival], rejections: Sequence[bytes] = ()
) -> list[Unpublished]:
    """Store a batch in one transaction; give back what is new in the feed, in its order.

    Locks are taken in one order by every transaction: killmails by id, places, then the feed's
    counter, which numbers the entries and holds every other storing transaction off until the
    commit; so the order of numbers is the order of commits, and a rollback burns none.
    """
    latest = _latest(arrivals)
    async with database.begin() as connection:
        added = set(await insert_missing(connection, KILLMAILS, _killmail_columns(latest)))
        fresh = [a for a in latest if a.killmail.killmail_id in added]
        if fresh:
            await insert_missing(connection, ATTACKERS, _attacker_columns(fresh))
        known = [a for a in latest if a.killmail.killmail_id not in added]
        updated = await _refresh(connection, known) if known else []
        places = [(a.reference.source, a.reference.position) for a in arrivals]
        await ack(connection, [*places, *await record_rejections(connection, rejections)])
        return await _enter(
            connection, [*(("added", a) for a in fresh), *(("updated", a) for a in updated)]
        )


def _latest(arrivals: Iterable[Arrival]) -> list[Arrival]:
    """One version of each killmail, the latest, by id."""
    latest: dict[int, Arrival] = {}
    for arrival in arrivals:
        other = latest.get(arrival.killmail.killmail_id)
        if other is None or arrival.reference.as_of > other.reference.as_of:
            latest[arrival.killmail.killmail_id] = arrival
    return [latest[killmail_id] for killmail_id in sorted(latest)]


def _killmail_columns(arrivals: Sequence[Arrival]) -> Columns:
    mails = [a.killmail for a in arrivals]
    victims = [m.victim for m in mails]
    return {
        "killmail_id": [m.killmail_id for m in mails],
        "killmail_hash": [a.reference.hash for a in arrivals],
        "killmail_time": [m.killmail_time for m in mails],
        "solar_system_id": [m.solar_system_id for m in mails],
        "moon_id": [m.moon_id for m in mails],
        "war_id": [m.war_id for m in mails],
        "victim_character_id": [v.character_id for v in victims],
        "victim_corporation_id": [v.corporation_id for v in victims],
        "victim_alliance_id": [v.alliance_id for v in victims],
        "victim_faction_id": [v.faction_id for v in victims],
        "victim_ship_type_id": [v.ship_type_id for v in victims],
        "victim_damage_taken": [v.damage_taken for v in victims],
        "attacker_count": [len(m.attackers) for m in mails],
        "zkb": [_text(a.reference.zkb) for a in arrivals],
        "body": [pack(bytes(a.reference.body)) for a in arrivals],
        "body_as_of": [_time(a.reference.as_of) for a in arrivals],
        "zkb_as_of": [_time(a.reference.as_of) if a.reference.zkb else None for a in arrivals],
    }


def _attacker_columns(arrivals: Sequence[Arrival]) -> Columns:
    rows = [
        (a.killmail.killmail_id, ordinal, attacker)
        for a in arrivals
        for ordinal, attacker in enumerate(a.killmail.attackers)
    ]
    attackers = [attacker for _, _, attacker in rows]
    return {
        "killmail_id": [killmail_id for killmail_id, _, _ in rows],
        "ordinal": [ordinal for _, ordinal, _ in rows],
        "character_id": [a.character_id for a in attackers],
        "corporation_id": [a.corporation_id for a in attackers],
        "alliance_id": [a.alliance_id for a in attackers],
        "faction_id": [a.faction_id for a in attackers],
        "ship_type_id": [a.ship_type_id for a in attackers],
        "weapon_type_id": [a.weapon_type_id for a in attackers],
        "damage_done": [a.damage_done for a in attackers],
        "final_blow": [a.final_blow for a in attackers],
        "security_status": [a.security_status for a in attackers],
    }


async def _refresh(connection: AsyncConnection, known: Sequence[Arrival]) -> list[Arrival]:
    """Write what is newer than the stored version and differs from it; say which."""
    by_id = {a.killmail.killmail_id: a for a in known}
    stored = await connection.execute(
        select(KILLMAILS.c.killmail_id, KILLMAILS.c.body_as_of, KILLMAILS.c.zkb, KILLMAILS.c.body)
        .where(among(connection, KILLMAILS.c.killmail_id, list(by_id)))
        .order_by(KILLMAILS.c.killmail_id)
        .with_for_update()
    )
    updated = []
    for row in stored:
        arrival = by_id[row.killmail_id]
        changes = _changes(row, arrival)
        if changes:
            if not arrival.reference.zkb and row.zkb:
                arrival = _with_zkb(arrival, row.zkb)
            updated.append(arrival)
            await connection.execute(
                update(KILLMAILS).where(KILLMAILS.c.killmail_id == row.killmail_id).values(changes)
            )
            if "body" in changes:
                await connection.execute(
                    ATTACKERS.delete().where(ATTACKERS.c.killmail_id == row.killmail_id)
                )
                await insert_missing(connection, ATTACKERS, _attacker_columns([arrival]))
    return updated


def _changes(row: Any, arrival: Arrival) -> dict[str, Any]:
    if _time(arrival.reference.as_of) <= row.body_as_of:
        return {}
    columns = {name: values[0] for name, values in _killmail_columns([arrival]).items()}
    body_differs = not _same(unpack(row.body), bytes(arrival.reference.body))
    zkb_differs = columns["zkb"] is not None and (
        row.zkb is None or not _same(row.zkb, columns["zkb"])
    )
    if not zkb_differs:
        del columns["zkb"], columns["zkb_as_of"]
    return columns if body_differs or zkb_differs else {}


async def _enter(
    connection: AsyncConnection, changes: Sequence[tuple[str, Arrival]]
) -> list[Unpublished]:
    """Give each change its place in the feed."""
    if not changes:
        return []
    last: int = (
        await connection.execute(
            update(FEED_COUNTER)
            .values(last_sequence=FEED_COUNTER.c.last_sequence + len(changes))
            .returning(FEED_COUNTER.c.last_sequence)
        )
    ).scalar_one()
    now = datetime.now(UTC)
    sequences = range(last - len(changes) + 1, last + 1)
    entered = await insert_missing(
        connection,
        FEED,
        {
            "sequence": list(sequences),
            "killmail_id": [arrival.killmail.killmail_id for _, arrival in changes],
            "kind": [kind for kind, _ in changes],
            "stored_at": [now] * len(changes),
        },
    )
    if len(entered) != len(changes):
        raise RuntimeError(f"feed_counter stands at {last}, but the feed is ahead of it")
    await insert_missing(connection, UNPUBLISHED, {"sequence": list(sequences)})
    return [
        Unpublished(
            Entry(
                sequence=sequence,
                kind=kind,
                killmail_id=arrival.killmail.killmail_id,
                hash=arrival.reference.hash,
                stored_at=now.timestamp(),
                killmail=arrival.reference.body,
                zkb=arrival.reference.zkb,
            ),
            arrival.killmail,
        )
        for sequence, (kind, arrival) in zip(sequences, changes, strict=True)
    ]


def _text(raw: msgspec.Raw) -> str | None:
    return bytes(raw).decode() or None


def _same(one: bytes | str, other: bytes | str) -> bool:
    """Compare JSON; what can't be decoded, such as a number beyond floats, by its characters."""
    try:
        return one == other or bool(msgspec.json.decode(one) == msgspec.json.decode(other))
    except (msgspec.DecodeError, RecursionError):
        return False


def _with_zkb(arrival: Arrival, zkb: str) -> Arrival:
    reference = msgspec.structs.replace(arrival.reference, zkb=msgspec.Raw(zkb.encode()))
    return Arrival(reference, arrival.killmail)


def _time(unix_s: float) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC)
