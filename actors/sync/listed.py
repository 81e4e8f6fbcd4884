"""Record what a list of ESI names: the user's killmails, and references to those unknown here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.killmails.delay import lock_lists
from actors.shared.among import among
from actors.shared.reference import SYNC_SOURCES, Reference, encode_reference
from actors.shared.rows import insert_missing
from actors.shared.tables import DELAYED, KILLMAILS, LEDGER, USER_KILLMAILS, USERS
from actors.users.delay import reschedule

PATIENCE: Final = timedelta(hours=2)
"""When the ledger has a reference sent again. Longer than ESI's budget may hold a first sync up."""
SEND_WITHIN: Final = timedelta(minutes=1)
"""The same for a reference that isn't sent yet: its process may die before."""


@dataclass(frozen=True)
class Recorded:
    """The result for one page of a list."""

    new: int
    """How many killmails the source hasn't listed before."""
    references: list[bytes]
    """What has to be fetched, newest first."""
    sent: list[int]
    """The positions of `references`, for `record_sent`."""


async def record_listed(
    database: AsyncEngine, source: str, character_id: int, listed: Sequence[tuple[int, str]]
) -> Recorded:
    """Record one page in one transaction, before anything is fetched. Idempotent.

    A killmail that is stored, delayed, or fetched for another user isn't fetched again. Of a
    delayed one the time of its publication is computed anew. For a user that was deleted meanwhile
    nothing is recorded.
    """
    hashes = dict(sorted(listed))
    ids = list(hashes)
    nothing = Recorded(0, [], [])
    if not ids:
        return nothing
    now = datetime.now(UTC)
    async with database.begin() as connection:
        await lock_lists(connection)
        if not await _lock_user(connection, character_id):
            return nothing
        new = await insert_missing(
            connection,
            USER_KILLMAILS,
            {
                "character_id": [character_id] * len(ids),
                "killmail_id": ids,
                "source": [source] * len(ids),
            },
        )
        known = await _existing(connection, KILLMAILS.c.killmail_id, ids)
        delayed = await _existing(connection, DELAYED.c.killmail_id, ids)
        await reschedule(connection, sorted(delayed))
        first, end = SYNC_SOURCES
        pending = await _existing(
            connection, LEDGER.c.position, ids, LEDGER.c.source >= first, LEDGER.c.source < end
        )
        unknown = [
            Reference(
                source=source,
                position=killmail_id,
                as_of=0.0,  # ESI gives no time of a version
                killmail_id=killmail_id,
                hash=hashes[killmail_id],
            )
            for killmail_id in ids
            if killmail_id not in known | delayed
        ]
        wanted = [r for r in reversed(unknown) if r.killmail_id not in pending]
        sent = sorted(r.position for r in wanted)
        await _insert_into_ledger(connection, unknown, set(sent), now)
    return Recorded(len(new), [encode_reference(reference) for reference in wanted], sent)


async def record_sent(database: AsyncEngine, source: str, positions: Sequence[int]) -> None:
    """Record that references were sent to `fetch`."""
    if not positions:
        return
    async with database.begin() as connection:
        locked = (
            select(LEDGER.c.position)
            .where(LEDGER.c.source == source, among(LEDGER.c.position, positions))
            .order_by(LEDGER.c.position)
            .with_for_update()
        )
        await connection.execute(
            update(LEDGER)
            .where(LEDGER.c.source == source, LEDGER.c.position.in_(locked))
            .values(next_try_at=datetime.now(UTC) + PATIENCE)
        )


async def _lock_user(connection: AsyncConnection, character_id: int) -> bool:
    """Keep the user from being deleted until the commit; tells whether it is there."""
    of_character = USERS.c.character_id == character_id
    query = select(USERS.c.character_id).where(of_character).with_for_update(read=True)
    return (await connection.scalar(query)) is not None


async def _existing(
    connection: AsyncConnection, column: Any, ids: Sequence[int], *conditions: Any
) -> set[int]:
    query = select(column).where(among(column, ids), *conditions)
    return set((await connection.scalars(query)).all())


async def _insert_into_ledger(
    connection: AsyncConnection,
    references: Sequence[Reference],
    to_send: set[int],
    now: datetime,
) -> None:
    await insert_missing(
        connection,
        LEDGER,
        {
            "source": [r.source for r in references],
            "position": [r.position for r in references],
            "reference": [encode_reference(r) for r in references],
            "kind": ["received"] * len(references),
            "killmail_id": [r.killmail_id for r in references],
            "killmail_hash": [r.hash for r in references],
            "received_at": [now] * len(references),
            "next_try_at": [
                now + (SEND_WITHIN if r.position in to_send else PATIENCE) for r in references
            ],
        },
    )
