"""Probe the database: what is stored, published and pending."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import msgspec
from sqlalchemy import Table, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.shared.database import open_database, reading
from actors.shared.errors import KillstreamError
from actors.shared.health.facts import (
    CompletenessFacts,
    DatabaseFacts,
    GapFacts,
    Refusal,
    Source,
    UniverseFacts,
    Unreachable,
    UserFacts,
)
from actors.shared.health.probe import within
from actors.shared.health.sizes import count_rows, read_sizes
from actors.shared.outage import one_line
from actors.shared.postgres import Limits
from actors.shared.settings import Settings
from actors.shared.tables import (
    COMPLETENESS_DAYS,
    CURSORS,
    FEED,
    FEED_COUNTER,
    GAPS,
    HISTORY_DAYS,
    KILLMAILS,
    LEDGER,
    NAMES,
    PAUSES,
    REJECTED,
    UNIVERSE,
    UNOBTAINABLE,
    UNPUBLISHED,
    USERS,
)

LATEST: Final = 3
"""Number of latest rejections and gaps shown."""
OVERDUE: Final = timedelta(minutes=15)
"""Delay of a sync that a healthy schedule never has."""
WATCHED: Final = timedelta(days=7)
"""The last days, each of which is audited daily."""
HOLE: Final = "hole"
"""The kind of ledger entries whose file was absent."""


class NoDatabase(KillstreamError):
    """There is no database, or it has no Killstream tables; says what to do."""


async def probe_database(
    settings: Settings, *, limit_s: float, counts: bool = False, users: bool = False
) -> DatabaseFacts | Unreachable:
    """Query the database over a new connection. Neither creates nor locks an SQLite file.

    Args:
        settings: The database.
        limit_s: Time limit.
        counts: Also count large tables (killmails, names, rejections), list gaps, and read sizes.
        users: Also count users.
    """
    return await within(limit_s, _ask(settings, limit_s, counts, users))


async def _ask(settings: Settings, limit_s: float, counts: bool, users: bool) -> DatabaseFacts:
    if not settings.database_url and not (settings.data_dir / "killstream.db").exists():
        raise NoDatabase(
            f"no database in {settings.data_dir}: run `killstream up`, or set"
            " KILLSTREAM_DATABASE_URL or KILLSTREAM_DATA_DIR to where it is"
        )
    limits = Limits(connect_s=limit_s, command_s=limit_s)
    try:
        async with (
            open_database(settings, "health", limits=limits) as database,
            reading(database) as connection,
        ):
            facts = await _facts(connection)
            if users:
                facts = msgspec.structs.replace(facts, users=await _users(connection))
            return await _with_counts(connection, facts) if counts else facts
    except DBAPIError as error:
        raise NoDatabase(_with_advice(error)) from None


async def _facts(connection: AsyncConnection) -> DatabaseFacts:
    """Read small tables, and large ones by an index."""
    revision = await connection.scalar(text("SELECT version_num FROM alembic_version"))
    last = await connection.scalar(select(FEED_COUNTER.c.last_sequence)) or 0
    first_unpublished = select(func.min(UNPUBLISHED.c.sequence)).scalar_subquery()
    waiting = LEDGER.c.kind != HOLE
    cursors = await connection.execute(select(CURSORS).order_by(CURSORS.c.source))
    return DatabaseFacts(
        revision=str(revision or ""),
        last_sequence=last,
        last_stored_age_s=_age_s(
            await connection.scalar(select(FEED.c.stored_at).where(FEED.c.sequence == last))
        ),
        unpublished=await _count(connection, UNPUBLISHED),
        unpublished_oldest_age_s=_age_s(
            await connection.scalar(
                select(FEED.c.stored_at).where(FEED.c.sequence == first_unpublished)
            )
        ),
        sources=[
            Source(
                source=row.source,
                position=row.position,
                age_s=_age_s(row.updated_at) or 0.0,
                tip=row.tip,
                checked_age_s=_age_s(row.checked_at),
            )
            for row in cursors
        ],
        ledger=await _count(connection, LEDGER, waiting),
        ledger_oldest_age_s=_age_s(
            await connection.scalar(
                select(func.min(LEDGER.c.received_at)).where(waiting, LEDGER.c.refusals == 0)
            )
        ),
        holes=await _count(connection, LEDGER, LEDGER.c.kind == HOLE),
        pauses={
            row.name: _age_s(row.paused_at) or 0.0
            for row in await connection.execute(PAUSES.select())
        },
        universe=await _universe(connection),
        completeness=await _completeness(connection),
        obtainable=await _obtainable(connection),
        audit_age_s=_age_s(await _audited_at(connection)),
    )


async def _universe(connection: AsyncConnection) -> UniverseFacts | None:
    row = (await connection.execute(UNIVERSE.select())).one_or_none()
    if row is None:
        return None
    return UniverseFacts(
        row.build_number, _age_s(row.loaded_at), _age_s(row.checked_at), row.last_error
    )


async def _completeness(connection: AsyncConnection) -> dict[str, CompletenessFacts]:
    days = COMPLETENESS_DAYS.c
    query = select(days.state, func.count(), func.sum(days.missing)).group_by(days.state)
    rows = await connection.execute(query.order_by(days.state))
    return {state: CompletenessFacts(count, int(missing)) for state, count, missing in rows}


async def _obtainable(connection: AsyncConnection) -> int:
    days = COMPLETENESS_DAYS.c
    audited = days.state.in_(("repairing", "incomplete"))
    missing = await connection.scalar(select(func.sum(days.missing)).where(audited))
    of_them = UNOBTAINABLE.c.day.in_(select(days.day).where(audited))
    return max(0, int(missing or 0) - await _count(connection, UNOBTAINABLE, of_them))


async def _audited_at(connection: AsyncConnection) -> datetime | None:
    """Return when the last days were all audited; before the first audit, when the feed began."""
    days = COMPLETENESS_DAYS.c
    is_watched = days.day > datetime.now(UTC).date() - WATCHED
    queries = (
        select(func.min(days.checked_at)).where(is_watched, days.state != "not_imported"),
        select(FEED.c.stored_at).order_by(FEED.c.sequence).limit(1),
    )
    for query in queries:
        if audited_at := await connection.scalar(query):
            return cast("datetime", audited_at)
    return None


async def _with_counts(connection: AsyncConnection, facts: DatabaseFacts) -> DatabaseFacts:
    refusals = await connection.execute(
        select(REJECTED.c.reason, REJECTED.c.rejected_at)
        .order_by(REJECTED.c.rejected_at.desc())
        .limit(LATEST)
    )
    gaps = await connection.execute(select(GAPS).order_by(GAPS.c.recorded_at.desc()).limit(LATEST))
    oldest = await connection.scalar(select(func.min(REJECTED.c.rejected_at)))
    killmails = await count_rows(connection, KILLMAILS)
    return msgspec.structs.replace(
        facts,
        gaps=await count_rows(connection, GAPS),
        latest_gaps=[
            GapFacts(
                source=row.source,
                first_position=row.first_position,
                last_position=row.last_position,
                reason=row.reason,
                age_s=_age_s(row.recorded_at) or 0.0,
            )
            for row in gaps
        ],
        killmails=killmails,
        rejected=await count_rows(connection, REJECTED),
        rejected_oldest_age_s=_age_s(oldest),
        latest_rejected=[Refusal(reason, _age_s(at) or 0.0) for reason, at in refusals],
        names=await count_rows(connection, NAMES, NAMES.c.name.is_not(None)),
        history_days=await _by_state(connection, HISTORY_DAYS),
        sizes=await read_sizes(connection, killmails),
    )


async def _users(connection: AsyncConnection) -> UserFacts:
    late = USERS.c.next_sync_at < datetime.now(UTC) - OVERDUE
    return UserFacts(
        by_state=await _by_state(connection, USERS),
        overdue=await _count(connection, USERS, USERS.c.state == "active", late),
    )


async def _by_state(connection: AsyncConnection, table: Table) -> dict[str, int]:
    state = table.c.state
    counted = await connection.execute(select(state, func.count()).group_by(state).order_by(state))
    return {row[0]: row[1] for row in counted}


async def _count(connection: AsyncConnection, table: Table, *where: Any) -> int:
    query = select(func.count()).select_from(table).where(*where)
    return int(await connection.scalar(query) or 0)


def _age_s(time: datetime | None) -> float | None:
    return None if time is None else round((datetime.now(UTC) - time).total_seconds(), 1)


def _with_advice(error: DBAPIError) -> str:
    said = one_line(error.orig or error)
    missing = "no such table" in said or ("relation" in said and "does not exist" in said)
    return f"{said}: run `killstream migrate`" if missing else said
