"""Import the killmails of one day from an archive."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final, NamedTuple

import aiohttp
import msgspec
import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.history.archive import Archive, Archived, Refused
from actors.history.bodies import have_fetched, source_of
from actors.history.errors import NoSuchDay, Unreadable
from actors.history.schedule import (
    Leased,
    LeaseLost,
    begin_download,
    fail,
    give_back,
    keeping_lease,
    renew,
)
from actors.history.sources import SOURCES
from actors.killmails.append import Unpublished, append_imported_day
from actors.killmails.bulk import store_archived
from actors.killmails.findable import known_for
from actors.killmails.refusal import is_refusal, reason_of
from actors.killmails.reject import record_rejections
from actors.killmails.version import Version, check_storable
from actors.shared.errors import Invalid, RetryLater
from actors.shared.feed import ImportedDay
from actors.shared.killmail import killmail_hash, parse_killmail
from actors.shared.metrics import HASHES_CORRECTED
from actors.shared.outage import one_line
from actors.shared.reference import NO_JSON
from actors.shared.rejection import encode_rejection
from actors.shared.settings import Settings
from actors.shared.tables import HISTORY_DAYS
from actors.shared.writers import let_others_write

log: Final = structlog.get_logger()

BATCH: Final = 2_500
"""Killmails in one transaction at most."""
SQLITE_BATCH: Final = (50, 250, 1_000)
"""On SQLite, whose writers wait for each other: at least, at first and at most."""
SQLITE_HOLD_S: Final = 0.15
"""How long a transaction on SQLite is to take, so that a live killmail waits briefly."""
DOWNLOAD_POLL_S: Final = 0.5
"""How often a day that waits for others' downloads asks again."""
AFTER_ERROR: Final = timedelta(minutes=1)
"""When a day is tried again that failed unexpectedly."""
NOT_YET: Final = timedelta(days=3)
"""Age up to which a day may still get its archive."""
AGAIN: Final = timedelta(hours=6)
"""When a day without an archive is tried again."""


class _Batch(NamedTuple):
    versions: list[Version]
    rejections: list[bytes]
    elsewhere: int
    """Killmails of other days, which belong to other archives."""


class _Size:
    """The size of transactions; on SQLite it follows the time that they take."""

    def __init__(self, *, is_sqlite: bool) -> None:
        self.is_sqlite = is_sqlite
        self.killmails = SQLITE_BATCH[1] if is_sqlite else BATCH

    def adapt(self, killmails: int, took_s: float) -> None:
        """Choose the next size by the time of a transaction."""
        if self.is_sqlite and killmails:
            least, _, most = SQLITE_BATCH
            fitting = int(killmails * SQLITE_HOLD_S / max(took_s, 1e-6))
            self.killmails = min(max(fitting, least), most, self.killmails * 2)


OnRejections = Callable[[list[bytes]], Awaitable[None]]


async def import_leased(
    settings: Settings,
    database: AsyncEngine,
    http: aiohttp.ClientSession,
    leased: Leased,
    on_rejections: OnRejections,
) -> Unpublished[ImportedDay] | None:
    """Import a day that this process has leased, or postpone it, or give it up.

    Each batch is one transaction, so after a crash what is stored is stored, and counted once. The
    last one enters the day in the feed. A process that ends gives the day back.

    Args:
        settings: Where the archives are.
        database: Where killmails are stored.
        http: What sends requests.
        leased: The day.
        on_rejections: Called with what was recorded as rejected, after each batch.

    Returns:
        The day's entry of the feed, to be published; None without one, as nothing was added.
    """
    try:
        async with keeping_lease(database, leased):
            return await _import(settings, database, http, leased, on_rejections)
    except LeaseLost as error:
        log.warning("history.lease_lost", reason=str(error))
    except RetryLater as error:
        await give_back(database, leased, str(error), timedelta(milliseconds=error.delay_ms))
        log.warning("history.postponed", day=str(leased.day), reason=str(error))
    except NoSuchDay as error:
        await _without_archive(database, leased, str(error))
    except Unreadable as error:
        await fail(database, leased, str(error))
        log.error("history.failed", day=str(leased.day), reason=str(error))
    except asyncio.CancelledError:
        await asyncio.shield(_give_back_if_possible(database, leased, None))
        raise
    except Exception as error:
        await _give_back_if_possible(database, leased, one_line(error))
        raise
    return None


async def _import(
    settings: Settings,
    database: AsyncEngine,
    http: aiohttp.ClientSession,
    leased: Leased,
    on_rejections: OnRejections,
) -> Unpublished[ImportedDay] | None:
    while not await begin_download(database, leased):  # noqa: ASYNC110  # of other processes
        await asyncio.sleep(DOWNLOAD_POLL_S)
    archive = await SOURCES[leased.source].download(settings, http, database, leased.day)
    async with database.begin() as connection:
        await renew(connection, leased, downloading_until=None, state_reason=None)
    size = _Size(is_sqlite=database.dialect.name == "sqlite")
    batches = _batches(archive, leased, size)
    done: Counter[str] = Counter()
    upcoming = asyncio.create_task(asyncio.to_thread(next, batches, None))
    try:
        while batch := await upcoming:
            upcoming = asyncio.create_task(asyncio.to_thread(next, batches, None))
            await let_others_write(database)
            began_s = time.perf_counter()
            rejections = await _store(database, leased, batch)
            size.adapt(len(batch.versions), time.perf_counter() - began_s)
            done["total"] += len(batch.versions)
            done["rejected"] += len(rejections)
            done["elsewhere"] += batch.elsewhere
            await on_rejections(rejections)
    finally:
        upcoming.cancel()
    source = source_of(leased.source, leased.day)
    done["to_fetch"] = await have_fetched(database, source, archive.without_body)
    entry = await _finish(database, leased, done)
    added = entry.entry.added if entry else 0
    log.info("history.imported", day=str(leased.day), added=added, **done)
    return entry


def _batches(archive: Archive, leased: Leased, size: "_Size") -> Iterator[_Batch]:
    """Unpack and parse an archive; each killmail once."""
    files = archive.unpack()
    seen: set[int] = set()
    while files_of_batch := list(islice(files, size.killmails)):
        yield _parse(files_of_batch, leased, seen)


def _parse(files: list[Archived | Refused], leased: Leased, seen: set[int]) -> _Batch:
    source = source_of(leased.source, leased.day)
    batch = _Batch([], [], 0)
    elsewhere = 0
    for file in files:
        if isinstance(file, Refused):
            batch.rejections.append(encode_rejection(file.reason, file.text, source=source))
            continue
        try:
            version = _version(file)
        except Invalid as error:
            batch.rejections.append(encode_rejection(str(error), file.body, source=source))
            continue
        killmail = version.killmail
        if killmail.killmail_time.astimezone(UTC).date() != leased.day:
            elsewhere += 1
        elif killmail.killmail_id not in seen:
            seen.add(killmail.killmail_id)
            batch.versions.append(version)
    return batch._replace(elsewhere=elsewhere)


def _version(file: Archived) -> Version:
    killmail = parse_killmail(file.body)
    check_storable(killmail)
    computed = killmail_hash(killmail)
    if file.killmail_hash != computed:
        HASHES_CORRECTED.inc()
    return Version(
        killmail=killmail,
        killmail_hash=computed,
        body=msgspec.Raw(file.body),
        body_as_of=0.0,
        zkb=NO_JSON,
        zkb_as_of=None,
        origin="import",
    )


async def _store(database: AsyncEngine, leased: Leased, batch: _Batch) -> list[bytes]:
    """Store a batch; return all that was rejected.

    A batch that the database refuses is halved until the refused killmail is alone.
    """
    known = await known_for(database, batch.versions)
    try:
        async with database.begin() as connection:
            added = await store_archived(connection, known, batch.versions)
            await record_rejections(connection, batch.rejections)
            await renew(connection, leased, added=HISTORY_DAYS.c.added + added)
    except Exception as error:
        if not (is_refusal(error) and batch.versions):
            raise
        reason = reason_of(error)
    else:
        return batch.rejections
    if len(batch.versions) == 1:
        body = bytes(batch.versions[0].body)
        rejection = encode_rejection(reason, body, source=source_of(leased.source, leased.day))
        return await _store(database, leased, _Batch([], [*batch.rejections, rejection], 0))
    half = len(batch.versions) // 2
    first = await _store(database, leased, _Batch(batch.versions[:half], batch.rejections, 0))
    return first + await _store(database, leased, _Batch(batch.versions[half:], [], 0))


async def _finish(
    database: AsyncEngine, leased: Leased, done: Counter[str]
) -> Unpublished[ImportedDay] | None:
    """Mark the day done, and enter it in the feed if the import added killmails."""
    async with database.begin() as connection:
        await renew(
            connection,
            leased,
            state="done",
            state_reason=None,
            total=done["total"],
            rejected=done["rejected"],
        )
        days = HISTORY_DAYS.c
        added = await connection.scalar(select(days.added).where(days.day == leased.day))
        if not added:
            return None
        return await append_imported_day(
            connection, leased.day, leased.source, added=added, total=done["total"]
        )


async def _without_archive(database: AsyncEngine, leased: Leased, reason: str) -> None:
    if datetime.now(UTC).date() - leased.day <= NOT_YET:
        await give_back(database, leased, reason, AGAIN)
    else:
        await fail(database, leased, reason)
    log.info("history.no_archive", day=str(leased.day))


async def _give_back_if_possible(database: AsyncEngine, leased: Leased, reason: str | None) -> None:
    """Give a day back, at once or, with a reason, after a while."""
    try:
        async with asyncio.timeout(1):
            await give_back(database, leased, reason, AFTER_ERROR if reason else timedelta())
    except Exception as error:  # the lease ends by itself
        log.info("history.lease_kept", day=str(leased.day), reason=one_line(error))
