"""Append entries to the feed, in the transaction whose changes they tell of.

The row of `feed_counter` numbers the entries and serializes the transactions from here until their
commit. So sequences follow the order of commits, a rollback leaves no gap, and this comes last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Generic, TypeVar

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.killmails.version import Version
from actors.shared.feed import Entry, FeedEntry, HistorySource, ImportedDay
from actors.shared.killmail import Killmail
from actors.shared.rows import Columns, insert_missing
from actors.shared.tables import FEED, FEED_COUNTER, IMPORTED_DAYS, UNPUBLISHED

E_co = TypeVar("E_co", bound=FeedEntry, covariant=True)


@dataclass(frozen=True)
class Unpublished(Generic[E_co]):
    """A stored entry, without names, and its parsed killmail."""

    entry: E_co
    killmail: Killmail | None
    """None for an imported day, or when the stored body is unreadable: truncated then."""


async def append_killmails(
    connection: AsyncConnection, changes: Sequence[tuple[str, Version]]
) -> list[Unpublished[Entry]]:
    """Append an entry for each killmail, given with the kind of its change."""
    if not changes:
        return []
    now = datetime.now(UTC)
    sequences, feed_id = await _append(
        connection,
        now,
        [version.killmail.killmail_id for _, version in changes],
        [kind for kind, _ in changes],
        [version.origin for _, version in changes],
    )
    return [
        Unpublished(
            Entry(
                sequence=sequence,
                feed_id=feed_id,
                kind=kind,
                killmail_id=version.killmail.killmail_id,
                hash=version.killmail_hash,
                stored_at=now.timestamp(),
                origin=version.origin,
                killmail=version.body,
                zkb=version.zkb,
            ),
            version.killmail,
        )
        for sequence, (kind, version) in zip(sequences, changes, strict=True)
    ]


async def append_imported_day(
    connection: AsyncConnection, day: date, source: HistorySource, *, added: int, total: int
) -> Unpublished[ImportedDay]:
    """Append the one entry of a day that was imported."""
    now = datetime.now(UTC)
    (sequence,), feed_id = await _append(connection, now, [None], ["imported"], ["import"])
    columns: Columns = {
        "sequence": [sequence],
        "day": [day],
        "source": [source],
        "added": [added],
        "total": [total],
    }
    await insert_missing(connection, IMPORTED_DAYS, columns)
    entry = ImportedDay(
        sequence=sequence,
        day=day,
        source=source,
        added=added,
        total=total,
        stored_at=now.timestamp(),
        feed_id=feed_id,
    )
    return Unpublished(entry, None)


async def _append(
    connection: AsyncConnection,
    now: datetime,
    killmail_ids: Sequence[int | None],
    kinds: Sequence[str],
    origins: Sequence[str],
) -> tuple[range, str]:
    """Number and insert entries; return their sequences and the feed's id."""
    count = len(kinds)
    counter = (
        await connection.execute(
            update(FEED_COUNTER)
            .values(last_sequence=FEED_COUNTER.c.last_sequence + count)
            .returning(FEED_COUNTER.c.last_sequence, FEED_COUNTER.c.feed_id)
        )
    ).one()
    last: int = counter.last_sequence
    sequences = range(last - count + 1, last + 1)
    entered = await insert_missing(
        connection,
        FEED,
        {
            "sequence": list(sequences),
            "killmail_id": list(killmail_ids),
            "kind": list(kinds),
            "origin": list(origins),
        },
        stored_at=now,
    )
    if len(entered) != count:
        raise RuntimeError(f"feed_counter is at {last}, but the feed has higher sequences")
    await insert_missing(connection, UNPUBLISHED, {"sequence": list(sequences)})
    return sequences, counter.feed_id
