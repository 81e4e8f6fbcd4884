"""The ledger: what was read of a source and isn't durable yet, and how far the source was read.

Both are written in one transaction before a reference is sent; storing a killmail deletes its
entry. So after a crash the cursor is where polling continues, and the remaining entries are what
may have been lost. Each entry has its own `tries` and `next_try_at`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, bindparam, case, func, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.shared.ack import ack
from actors.shared.database import reading
from actors.shared.rows import insert_into
from actors.shared.tables import CURSORS, LEDGER
from streams.gaps import record_gaps
from streams.ledger_rows import Rows
from streams.sources.step import LedgerEntry, Step

_ENTRY: Final = tuple(LEDGER.c[field.name] for field in fields(LedgerEntry))


class Fenced(Exception):
    """Another process took the source over: nothing was written."""


@dataclass(frozen=True, slots=True)
class Fence:
    """The fencing token of a source: valid for the process that took it over last."""

    source: str
    token: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a source was read."""

    position: int | None
    """None before the first read."""
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Progress:
    """The upstream's state."""

    tip: int | None = None
    """Its newest position."""
    checked_at: datetime | None = None
    """Time of its last answer."""


async def take_over(database: AsyncEngine, source: str) -> tuple[Fence, Cursor]:
    """Raise the source's fencing token, which fences off the former holder; return the cursor.

    The entries recorded last may not have been sent before a crash: they become due at once.
    """
    now = datetime.now(UTC)
    async with database.begin() as connection:
        row = (
            await connection.execute(
                insert_into(connection, CURSORS)
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
    """Write entries and cursor in one transaction; return the steps as recorded.

    Idempotent where the source has its own positions. Where it gives each message once, the
    returned steps have the positions allotted by the database; these steps are never fenced off,
    as no other process receives them. Entries are due again after `patience`.

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
    """Write the upstream's state.

    Raises:
        Fenced: another process took the source over.
    """
    async with database.begin() as connection:
        await _fenced_update(connection, fence, _progress_values(progress))


async def due_entries(
    database: AsyncEngine, source: str, kinds: Collection[str] | None = None, *, limit: int
) -> list[LedgerEntry]:
    """List entries of these kinds (all by default) that are due, longest due first."""
    query = (
        select(*_ENTRY)
        .where(
            LEDGER.c.source == source,
            LEDGER.c.next_try_at <= datetime.now(UTC),
            *_of_kinds(kinds),
        )
        .order_by(LEDGER.c.next_try_at, LEDGER.c.position)
        .limit(limit)
    )
    async with reading(database) as connection:
        return [LedgerEntry(*row) for row in await connection.execute(query)]


async def record_tries(
    database: AsyncEngine, fence: Fence, next_try_at: Mapping[LedgerEntry, datetime]
) -> None:
    """Count a try of each of these entries and set `next_try_at`.

    An entry that was recorded anew since it was listed is left alone: it wasn't tried.

    Raises:
        Fenced: another process took the source over.
    """
    tried = (
        update(LEDGER)
        .where(
            LEDGER.c.source == fence.source,
            LEDGER.c.position == bindparam("at"),
            LEDGER.c.received_at == bindparam("since"),
        )
        .values(next_try_at=bindparam("next"), tries=LEDGER.c.tries + 1)
    )
    async with database.begin() as connection:
        await _fenced_update(connection, fence, {})
        if next_try_at:
            rows = [
                {"at": entry.position, "since": entry.received_at, "next": next_at}
                for entry, next_at in sorted(next_try_at.items(), key=lambda one: one[0].position)
            ]
            await connection.execute(tried, rows)


async def next_due_at(
    database: AsyncEngine, source: str, kinds: Collection[str] | None = None
) -> datetime | None:
    """Return when the next entry of these kinds is due; None without entries."""
    query = select(func.min(LEDGER.c.next_try_at)).where(
        LEDGER.c.source == source, *_of_kinds(kinds)
    )
    async with reading(database) as connection:
        at: datetime | None = await connection.scalar(query)
        return at


async def recall_all(database: AsyncEngine, before: datetime | None = None) -> int:
    """Make all received entries due at once, after a loss of the event log's data.

    Except entries that ESI refused, which have their own schedule, and those received since
    `before`. Returns the number of entries. The poller sends them within seconds.
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
    """Return the position up to which a source was read; None before the first read."""
    async with reading(database) as connection:
        position: int | None = await connection.scalar(
            select(CURSORS.c.position).where(CURSORS.c.source == source)
        )
        return position


def _of_kinds(kinds: Collection[str] | None) -> list[ColumnElement[bool]]:
    return [] if kinds is None else [LEDGER.c.kind.in_(kinds)]


def _cursor_values(steps: Sequence[Step], now: datetime) -> dict[str, Any]:
    """Advance the cursor; moves it back only when the upstream's numbering restarts."""
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
    """Update the source's row in `cursors`, which locks out a successor until the commit."""
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
    """Allot the next positions to items without one."""
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
