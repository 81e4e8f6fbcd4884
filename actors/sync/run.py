"""One run of a sync: begun by one process at a time, and ended with its result in the schedule."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, get_args

from prometheus_client import Counter, Histogram
from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.esi.authenticated import Kind
from actors.shared.tables import USERS
from actors.sync.subject import Subject

EVERY: Final = timedelta(minutes=15)
EVERY_PREMIUM: Final = timedelta(minutes=5)
FULL_EVERY: Final = timedelta(days=1)
MAX_RUN: Final = timedelta(minutes=10)
"""A run that began longer ago died with its process."""

RUNS: Final = Counter(
    "killstream_syncs",
    "Syncs of users and corporations. `failed` rises: ESI fails, or tokens are refused; the table"
    " `users` has the reasons.",
    ["kind", "result"],
)
DURATION: Final = Histogram(
    "killstream_sync_duration_seconds",
    "Length of a sync. Rises: ESI is slow, or its budget per character is spent.",
    ["kind"],
    buckets=(0.25, 0.5, 1, 2, 5, 10, 30, 60, 300),
)
LISTED: Final = Counter(
    "killstream_sync_killmails_listed",
    "Killmails that a sync listed for the first time.",
    ["kind"],
)

for _kind in get_args(Kind):  # so that the first failure is a rise, and not a new series
    for _result in ("succeeded", "failed", "refused"):
        RUNS.labels(kind=_kind, result=_result)
    DURATION.labels(kind=_kind)
    LISTED.labels(kind=_kind)


@dataclass(frozen=True)
class Run:
    """A run that was begun."""

    subject: Subject
    began_at: datetime
    is_first: bool
    """Whether no full sync has succeeded yet."""
    is_full: bool
    first_page: int
    """Where a full sync that was interrupted goes on."""
    interval: timedelta
    list_is_cached: bool
    """Whether ESI would give the same list again; asking it meanwhile counts as an abuse."""


async def begin_run(database: AsyncEngine, subject: Subject, full: bool) -> Run | None:
    """Begin a run; None when one is in progress, or the user is gone or has to log in."""
    now = datetime.now(UTC)
    table = subject.table
    columns = table.c
    is_free = or_(columns.sync_started_at.is_(None), columns.sync_started_at < now - MAX_RUN)
    async with database.begin() as connection:
        user = (
            await connection.execute(
                select(USERS.c.is_premium).where(
                    USERS.c.character_id == subject.character_id, USERS.c.state == "active"
                )
            )
        ).one_or_none()
        if user is None:
            return None
        row = (
            await connection.execute(
                update(table)
                .where(subject.row, is_free)
                .values(sync_started_at=now)
                .returning(
                    columns.first_synced_at,
                    columns.next_full_sync_at,
                    columns.next_page,
                    columns.list_expires_at,
                )
            )
        ).one_or_none()
    if row is None:
        return None
    is_first = row.first_synced_at is None
    is_due = row.next_full_sync_at is None or row.next_full_sync_at <= now
    is_resumed = row.next_page > 1
    return Run(
        subject=subject,
        began_at=now,
        is_first=is_first,
        is_full=full or is_first or is_due or is_resumed,
        first_page=row.next_page,
        interval=EVERY_PREMIUM if user.is_premium else EVERY,
        list_is_cached=not (is_first or is_resumed)
        and row.list_expires_at is not None
        and row.list_expires_at > now,
    )


async def extend_run(
    database: AsyncEngine, run: Run, list_expires_at: datetime, next_page: int
) -> None:
    """Record a page that was listed: after a crash a full run goes on behind it."""
    values: dict[str, object] = {"list_expires_at": list_expires_at}
    if run.is_full:
        values["next_page"] = next_page
    async with database.begin() as connection:
        await connection.execute(update(run.subject.table).where(run.subject.row).values(values))


async def finish_run(database: AsyncEngine, run: Run, new: int) -> None:
    """Record a success."""
    now = datetime.now(UTC)
    columns = run.subject.table.c
    values: dict[str, object] = {
        "last_killmail_sync_at": now,
        "last_sync_count": new,
        "last_sync_error": None,
        "next_sync_at": now + run.interval,
    }
    if run.is_full and not run.list_is_cached:
        values |= {
            "first_synced_at": func.coalesce(columns.first_synced_at, now),
            "next_full_sync_at": now + FULL_EVERY,
            "next_page": 1,
        }
    async with database.begin() as connection:
        await _end(connection, run, values)
    RUNS.labels(kind=run.subject.kind, result="succeeded").inc()
    LISTED.labels(kind=run.subject.kind).inc(new)


async def postpone_run(
    database: AsyncEngine, run: Run, reason: str, wait: timedelta, next_page: int
) -> None:
    """Record a failure; the next run is full and goes on at `next_page`."""
    now = datetime.now(UTC)
    values = {
        "last_sync_error": reason,
        "next_sync_at": now + wait,
        "next_full_sync_at": now,
        "next_page": next_page,
    }
    async with database.begin() as connection:
        await _end(connection, run, values)
    RUNS.labels(kind=run.subject.kind, result="failed").inc()


async def refuse_run(database: AsyncEngine, run: Run, reason: str) -> None:
    """Record that ESI forbids this sync for good: it isn't scheduled any more."""
    values: dict[str, object] = {"last_sync_error": reason, "next_sync_at": None}
    if run.subject.kind == "corporation":
        values |= {"state": "refused", "state_reason": reason}
    async with database.begin() as connection:
        await _end(connection, run, values)
    RUNS.labels(kind=run.subject.kind, result="refused").inc()


async def _end(connection: AsyncConnection, run: Run, values: dict[str, object]) -> None:
    duration = datetime.now(UTC) - run.began_at
    DURATION.labels(kind=run.subject.kind).observe(duration.total_seconds())
    table = run.subject.table
    await connection.execute(
        update(table)
        .where(and_(run.subject.row, table.c.sync_started_at == run.began_at))
        .values(
            sync_started_at=None,
            last_sync_duration_ms=duration // timedelta(milliseconds=1),
            **values,
        )
    )
