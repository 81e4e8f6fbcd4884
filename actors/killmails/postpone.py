"""Postpone killmails whose bodies aren't available now; their entries stay in the ledger.

A long delay is stored in the ledger (`next_try_at`), not in a message: RabbitMQ requeues what a
consumer holds unacked for 30 minutes, and the ledger survives the loss of the broker. A short
delay is a delayed message; the ledger's entry is due later than it, in case the message is lost.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.shared.among import among
from actors.shared.reference import Reference, encode_reference
from actors.shared.rows import insert_missing
from actors.shared.tables import LEDGER

REFUSAL_WAITS: Final = tuple(timedelta(minutes=m) for m in (1, 2, 5, 15, 30, 60, 120, 180))
"""Waits after the first and each further refusal of a killmail; the last one repeats."""
MIN_REFUSALS: Final = 6
MIN_REFUSED_FOR: Final = timedelta(hours=6)
"""An overloaded ESI refuses valid killmails for minutes: a refusal is final only after this many
refusals over this time."""
MAX_MESSAGE_DELAY: Final = timedelta(minutes=5)
"""Longest delay of a message; longer delays are stored in the ledger only."""
MESSAGE_GRACE: Final = timedelta(minutes=15)
"""How much later than the delayed message its ledger entry is due."""

LedgerKey = tuple[str, int]
"""Source and position."""


@dataclass(frozen=True)
class Refusal:
    """The state of a killmail that ESI refused."""

    reference: Reference
    times: int
    """How often ESI has refused it."""
    since: datetime
    is_final: bool
    wait: timedelta
    """Delay before the next request."""


async def postpone(database: AsyncEngine, references: Iterable[Reference], wait: timedelta) -> None:
    """Set when ledger entries are due; inserts entries that are missing."""
    by_key = _by_key(references)
    async with database.begin() as connection:
        await _lock(connection, by_key)
        await _update(connection, [(key, {"next_try_at": _due(wait)}) for key in by_key])


async def record_refusals(
    database: AsyncEngine, references: Iterable[Reference]
) -> Sequence[Refusal]:
    """Count a refusal of each killmail in its ledger entry; return the resulting states.

    Entries whose refusal isn't final are due after `wait`.
    """
    by_key = _by_key(references)
    now = datetime.now(UTC)
    async with database.begin() as connection:
        rows = await _lock(connection, by_key)
        refused = [
            _refusal(by_key[row.source, row.position], row.refusals + 1, row.refused_at or now, now)
            for row in rows
        ]
        changes = [
            (
                (r.reference.source, r.reference.position),
                {"refusals": r.times, "refused_at": r.since, "next_try_at": _due(r.wait)},
            )
            for r in refused
        ]
        await _update(connection, changes)
    return refused


def _refusal(reference: Reference, times: int, since: datetime, now: datetime) -> Refusal:
    is_final = times >= MIN_REFUSALS and now - since >= MIN_REFUSED_FOR
    wait = REFUSAL_WAITS[min(times, len(REFUSAL_WAITS)) - 1]
    return Refusal(reference, times, since, is_final, wait)


def _due(wait: timedelta) -> datetime:
    grace = MESSAGE_GRACE if wait <= MAX_MESSAGE_DELAY else timedelta()
    return datetime.now(UTC) + wait + grace


def _by_key(references: Iterable[Reference]) -> dict[LedgerKey, Reference]:
    """Sort references by position, the order in which all transactions lock."""
    return dict(sorted(((r.source, r.position), r) for r in references))


async def _lock(connection: AsyncConnection, by_key: dict[LedgerKey, Reference]) -> list[Any]:
    """Lock the entries of these references; insert those that are missing with the reference."""
    now = datetime.now(UTC)
    rows: list[Any] = []
    for source in sorted({source for source, _ in by_key}):
        by_position = {p: r for (s, p), r in by_key.items() if s == source}
        await insert_missing(
            connection,
            LEDGER,
            {
                "source": [source] * len(by_position),
                "position": list(by_position),
                "reference": [encode_reference(reference) for reference in by_position.values()],
                "kind": ["received"] * len(by_position),
                "killmail_id": [reference.killmail_id for reference in by_position.values()],
                "killmail_hash": [reference.hash for reference in by_position.values()],
                "received_at": [now] * len(by_position),
                "next_try_at": [now] * len(by_position),
            },
        )
        locked = await connection.execute(
            select(LEDGER.c.source, LEDGER.c.position, LEDGER.c.refusals, LEDGER.c.refused_at)
            .where(LEDGER.c.source == source, among(LEDGER.c.position, list(by_position)))
            .order_by(LEDGER.c.position)
            .with_for_update()
        )
        rows += locked.all()
    return rows


async def _update(
    connection: AsyncConnection, changes: Sequence[tuple[LedgerKey, dict[str, Any]]]
) -> None:
    if not changes:
        return
    columns = list(changes[0][1])
    statement = (
        update(LEDGER)
        .where(
            LEDGER.c.source == bindparam("of_source"), LEDGER.c.position == bindparam("of_position")
        )
        .values({column: bindparam(f"new_{column}") for column in columns})
    )
    await connection.execute(
        statement,
        [
            {"of_source": source, "of_position": position}
            | {f"new_{column}": value for column, value in change.items()}
            for (source, position), change in changes
        ],
    )
