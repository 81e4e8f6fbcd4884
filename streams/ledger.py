"""The ledger: what was read of a source and isn't durable yet, and how far the source was read.

Both are written in one transaction before a reference goes on; storing a killmail deletes its
entry. So after any crash the cursor says where to go on, and the entries that stayed say what may
have been lost on the way. Each entry has its own tries and its own next time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import and_, bindparam, case, func, literal, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.shared.ack import ack
from actors.shared.database import reading
from actors.shared.tables import CURSORS, LEDGER
from streams.gaps import record_gaps
from streams.ledger_rows import Rows
from streams.sources.step import LedgerEntry, Step

_ENTRY: Final = tuple(LEDGER.c[field.name] for field in fields(LedgerEntry))


class Fenced(Exception):
    """Another process took the source over: nothing was written."""


@dataclass(frozen=True, slots=True)
class Fence:
    """The right to move a source's cursor: that of the process that took it over last."""

    source: str
    token: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a source was read."""

    position: int | None
    """None: nothing was read yet."""
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known of the upstream."""

    tip: int | None = None
    """Its newest position."""
    checked_at: datetime | None = None
    """When it answered last."""


async def take_over(database: AsyncEngine, source: str) -> tuple[Fence, Cursor]:
    """Become the one that may move the source's cursor; whoever was before is fenced off.

    What was recorded last may not have been sent before a crash: it is due at once. Everything
    else has its time.
    """
    now = datetime.now(UTC)
    async with database.begin() as connection:
        row = (
            await connection.execute(
                _insert_into_cursors(connection)
                .values(source=source, updated_at=now, fencing_token=1)
                .on_conflict_do_update(
                    index_elements=[CURSORS.c.source],
                    set_={"fencing_token": CURSORS.c.fencing_token + 1},
                )
                .returning(CURSORS.c.fencing_token, CURSORS.c.position, CURSORS.c.updated_at)
            )
        ).one()
        unsent = and_(
            LEDGER.c.source == source,
            LEDGER.c.received_at >= row.updated_at,
            LEDGER.c.kind != "hole",
            LEDGER.c.tries == 0,
            LEDGER.c.refusals == 0,
        )
        await connection.execute(update(LEDGER).where(unsent).values(next_try_at=now))
    return Fence(source, row.fencing_token), Cursor(row.position, row.updated_at)


async def record(
    database: AsyncEngine,
    fence: Fence,
    steps: Sequence[Step],
    *,
    patience: timedelta,
    progress: Progress = Progress(),
    gives_once: bool = False,
) -> list[Step]:
    """Write down what was read and how far, in one transaction; return the steps as recorded.

    Idempotent where the source has positions of its own. Where it gives once, the steps returned
    have the positions that the database allotted; such a source's steps are never fenced off, as
    nobody else will be given the same. What isn't durable after `patience` is due again.

    Raises:
        Fenced: another process took the source over.
    """
    now = datetime.now(UTC)
    async with database.begin() as connection:
        if gives_once:
            steps = await _allot(connection, fence.source, steps, progress, now)
        else:
            values = _cursor_values(steps, now) | _progress_values(progress)
            await _fenced_update(connection, fence, values)
        rows = Rows(fence.source, now, now + patience, gives_once=gives_once)
        await rows.write(connection, steps)
        await ack(connection, [(fence.source, p) for step in steps for p in step.acked])
        await record_gaps(connection, fence.source, [g for step in steps for g in step.gaps], now)
    return list(steps)


async def check_fence(database: AsyncEngine, fence: Fence, progress: Progress) -> None:
    """Write down what is known of the upstream.

    Raises:
        Fenced: another process took the source over.
    """
    async with database.begin() as connection:
        await _fenced_update(connection, fence, _progress_values(progress))


async def due_entries(database: AsyncEngine, source: str, *, limit: int) -> list[LedgerEntry]:
    """List entries whose time has come, longest due first."""
    query = (
        select(*_ENTRY)
        .where(LEDGER.c.source == source, LEDGER.c.next_try_at <= datetime.now(UTC))
        .order_by(LEDGER.c.next_try_at, LEDGER.c.position)
        .limit(limit)
    )
    async with reading(database) as connection:
        return [LedgerEntry(*row) for row in await connection.execute(query)]


async def record_tries(
    database: AsyncEngine, fence: Fence, next_try_at: Mapping[int, datetime]
) -> None:
    """Count a try of each of these positions, which has been made, and set its next time.

    Raises:
        Fenced: another process took the source over.
    """
    tried = (
        update(LEDGER)
        .where(LEDGER.c.source == fence.source, LEDGER.c.position == bindparam("at"))
        .values(next_try_at=bindparam("next"), tries=LEDGER.c.tries + 1)
    )
    async with database.begin() as connection:
        await _fenced_update(connection, fence, {})
        if next_try_at:
            rows = [{"at": position, "next": at} for position, at in sorted(next_try_at.items())]
            await connection.execute(tried, rows)


async def next_due_at(database: AsyncEngine, source: str) -> datetime | None:
    """Return when the next entry's time comes; None when the ledger holds nothing."""
    query = select(func.min(LEDGER.c.next_try_at)).where(LEDGER.c.source == source)
    async with reading(database) as connection:
        at: datetime | None = await connection.scalar(query)
        return at


async def recall_all(database: AsyncEngine, before: datetime | None = None) -> int:
    """Make all that was received due at once: for an event log that forgot what it held.

    Except what ESI refused, which has its own times, and what was received since `before`. Returns
    how many entries that are. Whoever polls sends them within seconds.
    """
    now = datetime.now(UTC)
    async with database.begin() as connection:
        recalled = await connection.execute(
            update(LEDGER)
            .where(
                LEDGER.c.kind == "received",
                LEDGER.c.refusals == 0,
                LEDGER.c.received_at < (before or now),
            )
            .values(next_try_at=now, tries=0)
        )
    return recalled.rowcount


async def read_cursor(database: AsyncEngine, source: str) -> int | None:
    """Return how far a source was read; None when it never was."""
    async with reading(database) as connection:
        position: int | None = await connection.scalar(
            select(CURSORS.c.position).where(CURSORS.c.source == source)
        )
        return position


def _insert_into_cursors(connection: AsyncConnection) -> Any:
    postgres = connection.dialect.name == "postgresql"
    return (postgresql.insert if postgres else sqlite.insert)(CURSORS)


def _cursor_values(steps: Sequence[Step], now: datetime) -> dict[str, Any]:
    """Move the cursor on; back only when the feed starts anew."""
    reached = [step.cursor for step in steps if step.cursor is not None]
    if not reached:
        return {}
    if any(step.reset for step in steps):
        return {"position": reached[-1], "updated_at": now}
    position, updated_at = CURSORS.c.position, CURSORS.c.updated_at
    moves = or_(position.is_(None), position < reached[-1])
    return {
        "position": case((moves, reached[-1]), else_=position),
        "updated_at": case((moves, literal(now, updated_at.type)), else_=updated_at),
    }


def _progress_values(progress: Progress) -> dict[str, Any]:
    known = {"tip": progress.tip, "checked_at": progress.checked_at}
    return {name: value for name, value in known.items() if value is not None}


async def _fenced_update(connection: AsyncConnection, fence: Fence, values: dict[str, Any]) -> None:
    """Update the source's row in `cursors`; a successor waits for it until the commit."""
    updated = await connection.execute(
        update(CURSORS)
        .where(CURSORS.c.source == fence.source, CURSORS.c.fencing_token == fence.token)
        .values(values or {"fencing_token": fence.token})
    )
    if updated.rowcount == 0:
        raise Fenced(f"another process took {fence.source} over")


async def _allot(
    connection: AsyncConnection,
    source: str,
    steps: Sequence[Step],
    progress: Progress,
    now: datetime,
) -> list[Step]:
    """Give positions to what has none, behind all that were given before."""
    count = sum(step.unallotted for step in steps)
    values: dict[str, Any] = _progress_values(progress)
    if count:
        values |= {"position": func.coalesce(CURSORS.c.position, 0) + count, "updated_at": now}
    if not values:
        return list(steps)
    moved = update(CURSORS).where(CURSORS.c.source == source).values(values)
    last = await connection.scalar(moved.returning(CURSORS.c.position))
    positions = iter(range((last or 0) - count + 1, (last or 0) + 1))
    return [step.allotted(positions) for step in steps]
