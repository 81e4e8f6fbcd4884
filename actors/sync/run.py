"""One run of a sync: begun by one process at a time, and ended with its result in the schedule."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, get_args

from prometheus_client import Counter, Histogram
from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.esi.authenticated import Kind
from actors.shared.tables import USERS
from actors.sync.subject import Subject

EVERY: Final = timedelta(minutes=15)
EVERY_PREMIUM: Final = timedelta(minutes=5)
FULL_EVERY: Final = timedelta(days=1)
MAX_RUN: Final = timedelta(minutes=10)
"""A run that began longer ago is replaced: its process died, or is stuck."""
NO_SCOPE: Final = "EVE didn't grant this: log in again with the scope `{kind}`"

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
    last_error: str | None
    """Of the run before."""


async def begin_run(database: AsyncEngine, subject: Subject, full: bool) -> Run | None:
    """Begin a run; None when one is in progress, or there may be none.

    There may be none when the user is gone, has to log in, or didn't grant the scope, and when ESI
    has refused the corporation's list.
    """
    now = datetime.now(UTC)
    table = subject.table
    columns = table.c
    may_begin = or_(columns.sync_started_at.is_(None), columns.sync_started_at < now - MAX_RUN)
    may_begin &= columns.state == "active"
    async with database.begin() as connection:
        user = (
            await connection.execute(
                select(USERS.c.is_premium, USERS.c.scopes).where(
                    USERS.c.character_id == subject.character_id, USERS.c.state == "active"
                )
            )
        ).one_or_none()
        if user is None:
            return None
        if subject.scope not in user.scopes.split():
            reason = NO_SCOPE.format(kind=subject.kind)
            unwanted = {"next_sync_at": None, "last_sync_error": reason}
            await connection.execute(update(table).where(subject.row).values(unwanted))
            return None
        row = (
            await connection.execute(
                update(table)
                .where(subject.row, may_begin)
                .values(sync_started_at=now)
                .returning(
                    columns.first_synced_at,
                    columns.next_full_sync_at,
                    columns.next_page,
                    columns.list_expires_at,
                    columns.last_sync_error,
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
        last_error=row.last_sync_error,
    )


async def extend_run(
    database: AsyncEngine, run: Run, list_expires_at: datetime, next_page: int
) -> None:
    """Record a page that was listed: after a crash the next run goes on behind it."""
    values = {"list_expires_at": list_expires_at, "next_page": next_page}
    async with database.begin() as connection:
        await connection.execute(update(run.subject.table).where(_is_own(run)).values(values))


async def finish_run(database: AsyncEngine, run: Run, new: int) -> None:
    """Record a success."""
    now = datetime.now(UTC)
    columns = run.subject.table.c
    values: dict[str, object] = {
        "last_killmail_sync_at": now,
        "last_sync_count": new,
        "last_sync_error": None,
        "next_sync_at": now + run.interval,
        "next_page": 1,
    }
    if run.is_full and not run.list_is_cached:
        values |= {
            "first_synced_at": func.coalesce(columns.first_synced_at, now),
            "next_full_sync_at": now + FULL_EVERY,
        }
    async with database.begin() as connection:
        await _end(connection, run, values)
    RUNS.labels(kind=run.subject.kind, result="succeeded").inc()
    LISTED.labels(kind=run.subject.kind).inc(new)


async def postpone_run(
    database: AsyncEngine, run: Run, reason: str, wait: timedelta, next_page: int
) -> None:
    """Record a failure; the next run goes on at `next_page`, and is full unless that is 1."""
    now = datetime.now(UTC)
    values: dict[str, object] = {
        "last_sync_error": reason,
        "next_sync_at": now + wait,
        "next_page": next_page,
    }
    if run.is_full:
        values["next_full_sync_at"] = now
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


async def release_run(database: AsyncEngine, run: Run) -> None:
    """Let the run be begun again at once, after an error that its message is retried for."""
    async with database.begin() as connection:
        released = update(run.subject.table).where(_is_own(run)).values(sync_started_at=None)
        await connection.execute(released)


def _is_own(run: Run) -> ColumnElement[bool]:
    """The condition that the run wasn't replaced by another."""
    return and_(run.subject.row, run.subject.table.c.sync_started_at == run.began_at)


async def _end(connection: AsyncConnection, run: Run, values: dict[str, object]) -> None:
    duration = datetime.now(UTC) - run.began_at
    DURATION.labels(kind=run.subject.kind).observe(duration.total_seconds())
    await connection.execute(
        update(run.subject.table)
        .where(_is_own(run))
        .values(
            sync_started_at=None,
            last_sync_duration_ms=duration // timedelta(milliseconds=1),
            **values,
        )
    )
