"""Audit one day: compare it with zKillboard's list, and have repaired what is missing.

What is missing is asked of ESI; what ESI refuses, or very much, is taken from the bodies of the
day that zKillboard has. What neither gives is unobtainable.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple

import aiohttp
import structlog
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.history import r2z2
from actors.history.bodies import have_fetched, source_of
from actors.history.schedule import request_days
from actors.shared.among import among
from actors.shared.database import reading
from actors.shared.rejection import decode_rejection
from actors.shared.rows import Columns, insert_missing, upsert
from actors.shared.settings import Settings
from actors.shared.tables import (
    COMPLETENESS_DAYS,
    HISTORY_DAYS,
    KILLMAILS,
    LEDGER,
    REJECTED,
    UNOBTAINABLE,
)

log: Final = structlog.get_logger()

MOST_FROM_ESI: Final = 200
"""Missing killmails of a day up to which ESI is asked for each: of more, all bodies are taken."""
IDS_PER_QUERY: Final = 5_000
SOON: Final = timedelta(minutes=10)
"""When a day is checked again that is being repaired."""
DAILY: Final = timedelta(days=1)
AGAIN: Final = timedelta(days=30)
"""When what nobody gave is asked for again."""
LATELY: Final = timedelta(days=7)
"""Within so long ESI's refusals are final."""

_days: Final = COMPLETENESS_DAYS.c


class Compared(NamedTuple):
    """A day beside zKillboard's list."""

    have: int
    missing: dict[int, str]
    """Hashes by killmail_id."""
    hash_differs: int


async def audit_day(
    settings: Settings, database: AsyncEngine, http: aiohttp.ClientSession, day: date, total: int
) -> str:
    """Audit a day, and begin its repair if it lacks something; return its state. Idempotent.

    States: `complete`; `repairing`, which is to be audited again `SOON`; `incomplete`: all that is
    missing is unobtainable.

    Args:
        settings: Where R2Z2 is.
        database: What is audited.
        http: What sends requests.
        day: Of the kills, in UTC.
        total: Killmails that zKillboard says it has of that day.

    Raises:
        NoSuchDay: zKillboard has no list of the day, or none yet.
        RetryLater: it fails, or bans this address.
    """
    hashes = await r2z2.hashes(settings, http, database, day)
    now = datetime.now(UTC)
    before = await _stored(database, day)
    await _forget_old(database, day)
    compared = await compare(database, hashes)
    known = await _unobtainable(database, day)
    wanted = {id_: hash_ for id_, hash_ in compared.missing.items() if id_ not in known}
    pending, repair = await _repair(database, day, total, wanted, before)
    await _forget(database, known - compared.missing.keys())
    if not pending:
        await _record_unobtainable(database, day, wanted)
    missing = len(compared.missing) + max(0, total - len(hashes))  # it lists fewer than it counts
    state = "repairing" if pending else "incomplete" if missing else "complete"
    repaired = before.repaired if before else 0
    if before and before.state == "repairing":
        repaired += max(0, before.missing - missing)
    async with database.begin() as connection:
        found = {
            "upstream_total": total,
            "have": compared.have,
            "missing": missing,
            "hash_differs": compared.hash_differs,
            "repaired": repaired,
            "state": state,
            "repair": repair,
            "checked_at": now,
            "next_check_at": now + (SOON if pending else DAILY),
        }
        await upsert(connection, COMPLETENESS_DAYS, {"day": day}, found)
    log.info(
        "completeness.audited",
        day=str(day),
        state=state,
        missing=missing,
        hash_differs=compared.hash_differs,
        repaired=repaired,
    )
    return state


async def compare(database: AsyncEngine, hashes: Mapping[int, str]) -> Compared:
    """Compare zKillboard's list with what is stored."""
    ids, column = sorted(hashes), KILLMAILS.c.killmail_id
    stored: dict[int, str] = {}
    async with reading(database) as connection:
        for start in range(0, len(ids), IDS_PER_QUERY):
            some = among(column, ids[start : start + IDS_PER_QUERY])
            query = select(column, KILLMAILS.c.killmail_hash).where(some)
            stored |= {
                row.killmail_id: row.killmail_hash for row in await connection.execute(query)
            }
    return Compared(
        have=len(stored),
        missing={id_: hash_ for id_, hash_ in hashes.items() if id_ not in stored},
        hash_differs=sum(hashes[id_] != hash_ for id_, hash_ in stored.items()),
    )


async def _repair(
    database: AsyncEngine, day: date, total: int, wanted: Mapping[int, str], before: Any
) -> tuple[bool, str | None]:
    """Begin the repair, or go on with it; return whether it goes on, and the way that is tried."""
    tried = before.repair if before and before.state == "repairing" else None
    if not wanted:
        return False, tried
    askable = {killmail_id: hash_ for killmail_id, hash_ in wanted.items() if hash_}
    if tried is None and askable and len(wanted) <= MOST_FROM_ESI:
        await have_fetched(database, source_of("r2z2", day), askable)
        return True, "esi"
    if await _are_pending(database, day):
        return True, tried
    if tried != "archive":
        await request_days(database, "r2z2", {day: total}, again=True)
        return True, "archive"
    return False, "archive"


async def _are_pending(database: AsyncEngine, day: date) -> bool:
    """Tell whether ESI is still asked for killmails of a day, or its import goes on."""
    entries = select(LEDGER.c.position).where(LEDGER.c.source == source_of("r2z2", day)).limit(1)
    waits = (HISTORY_DAYS.c.day == day) & (HISTORY_DAYS.c.state == "waiting")
    imports = select(HISTORY_DAYS.c.day).where(waits)
    async with reading(database) as connection:
        for query in (entries, imports):
            if (await connection.execute(query)).first() is not None:
                return True
    return False


async def _forget_old(database: AsyncEngine, day: date) -> None:
    """Forget what nobody gave long ago, so that it is asked for again."""
    recorded_at = UNOBTAINABLE.c.recorded_at
    old = delete(UNOBTAINABLE).where(
        UNOBTAINABLE.c.day == day, recorded_at < datetime.now(UTC) - AGAIN
    )
    async with database.begin() as connection:
        await connection.execute(old)


async def _unobtainable(database: AsyncEngine, day: date) -> set[int]:
    query = select(UNOBTAINABLE.c.killmail_id).where(UNOBTAINABLE.c.day == day)
    async with reading(database) as connection:
        return set(await connection.scalars(query))


async def _forget(database: AsyncEngine, obtained: Collection[int]) -> None:
    """Forget what was unobtainable and isn't missing any more."""
    if obtained:
        async with database.begin() as connection:
            gone = among(UNOBTAINABLE.c.killmail_id, sorted(obtained))
            await connection.execute(delete(UNOBTAINABLE).where(gone))


async def _record_unobtainable(database: AsyncEngine, day: date, hashes: Mapping[int, str]) -> None:
    """Write what nobody gives, with the reason."""
    reasons = await _reasons(database, day, hashes) if hashes else {}
    ids = sorted(hashes)
    columns: Columns = {
        "killmail_id": ids,
        "killmail_hash": [hashes[id_] for id_ in ids],
        "day": [day] * len(ids),
        "reason": [reasons.get(id_, "zKillboard has no body") for id_ in ids],
        "recorded_at": [datetime.now(UTC)] * len(ids),
    }
    async with database.begin() as connection:
        await insert_missing(connection, UNOBTAINABLE, columns)


async def _reasons(database: AsyncEngine, day: date, wanted: Mapping[int, str]) -> dict[int, str]:
    """Read why killmails of a day were rejected last, within `LATELY`."""
    columns, ids, source = REJECTED.c, sorted(wanted), source_of("r2z2", day)
    query = (
        select(columns.killmail_id, columns.rejection)
        .where(columns.rejected_at > datetime.now(UTC) - LATELY)
        .order_by(columns.rejected_at)
    )
    reasons: dict[int, str] = {}
    async with reading(database) as connection:
        for start in range(0, len(ids), IDS_PER_QUERY):
            some = among(columns.killmail_id, ids[start : start + IDS_PER_QUERY])
            rows = await connection.execute(query.where(some))
            for row in rows:
                rejection = decode_rejection(row.rejection)
                if rejection.source == source:
                    reasons[row.killmail_id] = rejection.reason
    return reasons


async def _stored(database: AsyncEngine, day: date) -> Any:
    async with reading(database) as connection:
        query = select(COMPLETENESS_DAYS).where(_days.day == day)
        return (await connection.execute(query)).one_or_none()
