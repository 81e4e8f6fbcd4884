"""The days whose history is requested: the table `history_days`.

A day waits until a process leases it, which then writes everything under its lease: a process that
lost its lease, as it was suspended for long, can't write any more.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple

import structlog
from sqlalchemy import (
    ColumnElement,
    Select,
    case,
    func,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.history.sources import SOURCES
from actors.shared.among import among
from actors.shared.cancellation import cancel_and_wait
from actors.shared.database import reading
from actors.shared.errors import KillstreamError
from actors.shared.feed import HistorySource
from actors.shared.outage import one_line
from actors.shared.rows import insert_into
from actors.shared.tables import HISTORY_DAYS, Utc

log: Final = structlog.get_logger()

LEASE: Final = timedelta(seconds=30)
"""How long after its process has died another one goes on with a day."""
RENEW_EVERY_S: Final = 10.0
REQUESTED: Final = 500
"""Days that are requested in one transaction: a killmail that waits for it waits briefly."""
MESSAGE_AGAIN: Final = timedelta(minutes=10)
"""When a message is sent again for a day that no process has taken."""
_LOCK: Final = 2_846_730_011_503_117_946
"""PostgreSQL's advisory lock of those that begin a download."""

EPOCH: Final = datetime.fromtimestamp(0, UTC)
_days: Final = HISTORY_DAYS.c


class LeaseLost(KillstreamError):
    """Another process goes on with the day."""


class Leased(NamedTuple):
    """A day that this process imports."""

    day: date
    source: HistorySource
    lease: str


async def request_days(
    database: AsyncEngine,
    source: HistorySource,
    totals: Mapping[date, int],
    *,
    again: bool = False,
) -> int:
    """Have days imported; returns how many that are new.

    A day that waits already, or that was imported and has the same total since, isn't touched.

    Args:
        database: Where.
        source: Where the killmails are to come from.
        totals: The days, with the number of killmails that the source has of each.
        again: Whether days that were imported are imported again.
    """
    now, days, requested = datetime.now(UTC), sorted(totals), 0
    anew = {
        "source": source,
        "state": "waiting",
        "state_reason": None,
        "added": 0,
        "rejected": 0,
        "requested_at": now,
        "updated_at": now,
        "next_try_at": now,
        "lease": None,
        "leased_until": EPOCH,
        "downloading_until": None,
    }
    for start in range(0, len(days), REQUESTED):
        chosen = days[start : start + REQUESTED]
        async with database.begin() as connection:
            insert = insert_into(connection, HISTORY_DAYS)
            changed = or_(
                _days.state == "failed",
                _days.source != insert.excluded.source,
                _days.total.is_distinct_from(insert.excluded.total),
                literal(again),
            )
            statement = insert.on_conflict_do_update(
                index_elements=[_days.day],
                set_={**anew, "total": insert.excluded.total},
                where=(_days.state != "waiting") & changed,
            )
            rows = [{"day": day, "total": totals[day], **anew} for day in chosen]
            done = await connection.execute(statement.returning(_days.day), rows)
            requested += len(done.all())
    return requested


async def take_due(database: AsyncEngine, limit: int) -> list[date]:
    """Choose waiting days for which messages are to be sent, newest first.

    At most `limit` are under way at once: sent, and taken by no process yet. None is chosen on
    SQLite while a day is imported, see `lease_day`.
    """
    now = datetime.now(UTC)
    under_way = select(func.count()).where(
        _waits(now), _days.next_try_at > now, _days.state_reason.is_(None)
    )
    async with database.begin() as connection:
        free = limit - (await connection.scalar(under_way) or 0)
        if free <= 0 or await _is_taken(connection, now):
            return []
        days = list(await connection.scalars(_due(now).limit(free)))
        if days:
            postponed = update(HISTORY_DAYS).where(among(_days.day, days))
            await connection.execute(postponed.values(next_try_at=now + MESSAGE_AGAIN))
    return days


async def lease_day(database: AsyncEngine, day: date) -> Leased | None:
    """Lease a day; None when it doesn't wait, or another process imports it.

    On SQLite one day is imported at a time, as there is one writer: between two of several
    importers the lock would seldom be free for the live feed.
    """
    now = datetime.now(UTC)
    async with database.begin() as connection:
        if not await _is_taken(connection, now):
            return await _lease(connection, day, now)
        waiting = update(HISTORY_DAYS).where(_days.day == day, _waits(now))
        await connection.execute(waiting.values(next_try_at=now))  # when that one is done
    return None


async def lease_next(database: AsyncEngine) -> Leased | None:
    """Lease the newest day that is due; None when there is none, or as in `lease_day`.

    It is chosen and leased at once: a process that dies in between leaves nothing postponed.
    """
    now = datetime.now(UTC)
    async with database.begin() as connection:
        if await _is_taken(connection, now):
            return None
        day = await connection.scalar(_due(now).limit(1))
        return await _lease(connection, day, now) if day else None


async def _lease(connection: AsyncConnection, day: date, now: datetime) -> Leased | None:
    lease = secrets.token_hex(8)
    source = await connection.scalar(
        update(HISTORY_DAYS)
        .where(_days.day == day, _waits(now))
        .values(lease=lease, leased_until=now + LEASE, updated_at=now, next_try_at=now)
        .returning(_days.source)
    )
    return Leased(day, source, lease) if source else None


def _waits(now: datetime) -> ColumnElement[bool]:
    return (_days.state == "waiting") & (_days.leased_until <= now)


def _due(now: datetime) -> Select[Any]:
    """Select the days that may be leased now, newest first, and lock them."""
    return (
        select(_days.day)
        .where(_waits(now), _days.next_try_at <= now)
        .order_by(_days.day.desc())
        .with_for_update(skip_locked=True)
    )


async def _is_taken(connection: AsyncConnection, now: datetime) -> bool:
    """Tell whether SQLite's one writer imports a day already."""
    if connection.dialect.name == "postgresql":
        return False
    others = select(_days.day).where(_days.state == "waiting", _days.leased_until > now)
    # What was postponed is leased by nobody until then.
    return (await connection.execute(others.where(_days.lease.is_not(None)))).first() is not None


async def begin_download(database: AsyncEngine, leased: Leased) -> bool:
    """Begin a download unless enough others are under way.

    Raises:
        LeaseLost: another process goes on with the day.
    """
    now = datetime.now(UTC)
    others = select(func.count()).where(
        _days.day != leased.day, _days.source == leased.source, _days.downloading_until > now
    )
    async with database.begin() as connection:
        if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        if (await connection.scalar(others) or 0) >= SOURCES[leased.source].downloads_at_once:
            await renew(connection, leased)
            return False
        await renew(connection, leased, downloading_until=now + LEASE)
    return True


async def renew(connection: AsyncConnection, leased: Leased, **values: Any) -> None:
    """Renew the lease and write values, in the caller's transaction.

    Raises:
        LeaseLost: another process goes on with the day; roll back then.
    """
    now = datetime.now(UTC)
    renewed = await connection.execute(
        update(HISTORY_DAYS)
        .where(_days.day == leased.day, _days.lease == leased.lease, _days.state == "waiting")
        .values({"leased_until": now + LEASE, "updated_at": now, **values})
    )
    if not renewed.rowcount:
        raise LeaseLost(f"another process imports {leased.day}")


@asynccontextmanager
async def keeping_lease(database: AsyncEngine, leased: Leased) -> AsyncIterator[None]:
    """Renew the lease, and the permission to download, until the block ends."""
    task = asyncio.create_task(_keep_lease(database, leased), name=f"history lease {leased.day}")
    try:
        yield
    finally:
        await cancel_and_wait(task)


async def _keep_lease(database: AsyncEngine, leased: Leased) -> None:
    """Renew until cancelled, or the lease is lost: the next batch finds that out, too."""
    while True:
        await asyncio.sleep(RENEW_EVERY_S)
        until = datetime.now(UTC) + LEASE
        downloading = case((_days.downloading_until.is_not(None), literal(until, Utc)))
        try:
            async with database.begin() as connection:
                await renew(connection, leased, downloading_until=downloading)
        except LeaseLost:
            return
        except (SQLAlchemyError, OSError) as error:
            log.warning("history.lease_not_renewed", day=str(leased.day), reason=one_line(error))


async def give_back(
    database: AsyncEngine, leased: Leased, reason: str | None, delay: timedelta = timedelta()
) -> None:
    """Have a day tried again after a delay."""
    again_at = datetime.now(UTC) + delay
    async with database.begin() as connection:
        await renew(
            connection,
            leased,
            state_reason=reason,
            next_try_at=again_at,
            lease=None,
            leased_until=again_at,
            downloading_until=None,
        )


async def fail(database: AsyncEngine, leased: Leased, reason: str) -> None:
    """Give a day up, until it is requested again."""
    async with database.begin() as connection:
        await renew(connection, leased, state="failed", state_reason=reason, downloading_until=None)


class Standing(NamedTuple):
    """How far the requested days are."""

    days: Mapping[str, int]
    """By state."""
    added: int
    rejected: int
    total: int
    """Killmails of all days, as far as the source says."""
    read: int
    """How many of them were read."""
    next_try_at: datetime | None
    """The earliest time at which a waiting day is tried; None without one."""
    reason: str | None
    """Why a waiting day was postponed."""

    @property
    def share(self) -> float:
        """The part that is done."""
        return self.read / self.total if self.total else 1.0


async def read_standing(database: AsyncEngine, first: date, last: date) -> Standing:
    """Read how far the days of a range are."""
    query = (
        select(
            _days.state,
            func.count().label("days"),
            func.coalesce(func.sum(_days.added), 0).label("added"),
            func.coalesce(func.sum(_days.rejected), 0).label("rejected"),
            func.coalesce(func.sum(_days.total), 0).label("total"),
            func.min(_days.next_try_at).label("next_try_at"),
            func.max(_days.state_reason).label("reason"),
        )
        .where(_days.day >= first, _days.day <= last)
        .group_by(_days.state)
    )
    async with reading(database) as connection:
        rows = {row.state: row for row in await connection.execute(query)}
    waiting = rows.get("waiting")
    read = sum(int(row.total) for state, row in rows.items() if state != "waiting")
    return Standing(
        days={state: row.days for state, row in rows.items()},
        added=sum(int(row.added) for row in rows.values()),
        rejected=sum(int(row.rejected) for row in rows.values()),
        total=sum(int(row.total) for row in rows.values()),
        read=read + (int(waiting.added) if waiting else 0),
        next_try_at=waiting.next_try_at if waiting else None,
        reason=waiting.reason if waiting else None,
    )


async def first_failure(database: AsyncEngine, first: date, last: date) -> str:
    """Describe the newest day of a range that failed; empty without one."""
    query = (
        select(_days.day, _days.state_reason)
        .where(_days.day >= first, _days.day <= last, _days.state == "failed")
        .order_by(_days.day.desc())
        .limit(1)
    )
    async with reading(database) as connection:
        row = (await connection.execute(query)).one_or_none()
    return f"{row.day}: {row.state_reason}" if row else ""
