"""Record what a list of ESI names: the user's killmails, and references to those unknown here."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.shared.ack import ack
from actors.shared.reference import SYNC_SOURCES, Reference, encode_reference
from actors.shared.rows import among, insert_missing
from actors.shared.tables import DELAYED, KILLMAILS, LEDGER, USER_KILLMAILS

PATIENCE: Final = timedelta(hours=2)
"""When the ledger has a reference sent again. Longer than ESI's budget may hold a first sync up."""
_LOCK: Final = 7_305_809_156_287_101_798
"""PostgreSQL's advisory lock that recording a page holds."""
PATIENCE_WITH_OTHERS: Final = timedelta(minutes=1)
"""The same for a killmail that is fetched for another user: storing it acks both entries."""


@dataclass(frozen=True)
class Recorded:
    """The result for one page of a list."""

    new: int
    """How many killmails the source hasn't listed before."""
    references: list[bytes]
    """What has to be fetched, newest first."""


async def record_listed(
    database: AsyncEngine, source: str, character_id: int, listed: Sequence[tuple[int, str]]
) -> Recorded:
    """Record one page in one transaction, before anything is fetched. Idempotent.

    A killmail that is stored, delayed, or fetched for another user isn't fetched again.
    """
    hashes = dict(sorted(listed))
    ids = list(hashes)
    if not ids:
        return Recorded(0, [])
    now = datetime.now(UTC)
    async with database.begin() as connection:
        await _exclude_others(connection)
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
        known |= await _existing(connection, DELAYED.c.killmail_id, ids)
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
            if killmail_id not in known
        ]
        await _insert_into_ledger(connection, unknown, pending, now)
    await _ack_stored(database, source, pending)
    wanted = [r for r in reversed(unknown) if r.killmail_id not in pending]
    return Recorded(len(new), [encode_reference(reference) for reference in wanted])


async def _existing(
    connection: AsyncConnection, column: Any, ids: Sequence[int], *conditions: Any
) -> set[int]:
    query = select(column).where(among(connection, column, ids), *conditions)
    return set((await connection.scalars(query)).all())


async def _exclude_others(connection: AsyncConnection) -> None:
    """Record one page at a time, so that each sees what the others have sent to `fetch`."""
    if connection.dialect.name == "postgresql":  # on SQLite there is one writer anyway
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))


async def _ack_stored(database: AsyncEngine, source: str, pending: Collection[int]) -> None:
    """Ack what another user's fetch stored before it could see our entry."""
    if not pending:
        return
    async with database.begin() as connection:
        ids = sorted(pending)
        stored = await _existing(connection, KILLMAILS.c.killmail_id, ids)
        stored |= await _existing(connection, DELAYED.c.killmail_id, ids)
        await ack(connection, [(source, killmail_id) for killmail_id in stored])


async def _insert_into_ledger(
    connection: AsyncConnection,
    references: Sequence[Reference],
    pending: Collection[int],
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
                now + (PATIENCE_WITH_OTHERS if r.position in pending else PATIENCE)
                for r in references
            ],
        },
    )
