"""Rejected records: found by digest, reason and age, and taken up again through the ledger."""

import asyncio
import heapq
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.shared.database import check_schema, open_database, reading
from actors.shared.errors import Invalid, KillstreamError, ServerUnavailable
from actors.shared.outage import one_line
from actors.shared.reference import Reference, decode_reference, encode_reference
from actors.shared.rejection import REJECTED_SOURCE, Rejection, decode_rejection
from actors.shared.rows import among
from actors.shared.settings import Settings
from actors.shared.tables import LEDGER, REJECTED
from deploy.cli.process import configure, fail
from deploy.cli.reasons import kind_of
from streams.sources.decode import Found, decode_document, decode_package

T = TypeVar("T")

PAGE: Final = 200
"""Records read, or taken up again, in one transaction."""

SHOWN_ID: Final = 12
"""Characters of a digest in a list: enough to name it."""


class NoSuchRecord(KillstreamError):
    """A digest names no record, or more than one."""


@dataclass(frozen=True)
class Selection:
    """Which records are meant; all of them by default."""

    reason: str = ""
    """A regular expression, or any text that the reason holds; case doesn't matter."""
    older_than_s: float | None = None
    newer_than_s: float | None = None
    before: datetime | None = None
    """Only what was rejected before this time."""

    def matches(self, reason: str, rejected_at: datetime) -> bool:
        """Tell whether a record is meant."""
        age_s = (datetime.now(UTC) - rejected_at).total_seconds()
        return (
            (self.before is None or rejected_at < self.before)
            and (self.older_than_s is None or age_s > self.older_than_s)
            and (self.newer_than_s is None or age_s < self.newer_than_s)
            and self._matches_reason(reason)
        )

    def _matches_reason(self, reason: str) -> bool:
        if self.reason.casefold() in reason.casefold():
            return True
        try:
            return re.search(self.reason, reason, re.IGNORECASE) is not None
        except re.error:
            return False


class Record(msgspec.Struct, frozen=True):
    """One rejected record."""

    id: str
    rejected_at: datetime
    rejection: Rejection


class Listing(msgspec.Struct):
    """How many records there are of each kind of reason, and the newest ones."""

    total: int
    reasons: dict[str, int]
    """By reason, numbers and hashes left out; the most frequent first."""
    newest: list[Record]


@dataclass
class Taken:
    """What taking records up again did."""

    references: list[Reference] = field(default_factory=list)
    """What stands in the ledger now."""
    left: dict[str, str] = field(default_factory=dict)
    """Why a record stays rejected, by digest."""


def ask(work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    """Run something on the database of the settings; end with a sentence when it can't."""
    settings = configure()
    try:
        return asyncio.run(_on_database(settings, work))
    except KillstreamError as error:
        fail(error)
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        fail(ServerUnavailable(f"the database: {one_line(error)}"))


async def _on_database(settings: Settings, work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    if not settings.database_url and not (settings.data_dir / "killstream.db").exists():
        raise ServerUnavailable(
            f"no database in {settings.data_dir.absolute()}: set KILLSTREAM_DATABASE_URL or"
            " KILLSTREAM_DATA_DIR to where it is"
        )
    async with open_database(settings, "rejected") as database:
        await check_schema(database)
        return await work(database)


async def list_records(database: AsyncEngine, selection: Selection, limit: int) -> Listing:
    """Count the records and read the newest of them."""
    reasons: Counter[str] = Counter()
    newest: list[tuple[datetime, str]] = []
    async for page in pages(database, selection):
        reasons.update(kind_of(row.reason) for row in page)
        newest = heapq.nlargest(limit, newest + [(row.rejected_at, row.digest) for row in page])
    async with reading(database) as connection:
        records = await _read(connection, [digest for _, digest in newest])
    records.sort(key=lambda record: record.rejected_at, reverse=True)
    return Listing(reasons.total(), dict(reasons.most_common()), records)


async def pages(database: AsyncEngine, selection: Selection) -> AsyncIterator[list[Any]]:
    """Give digest, reason and time of the records, page by page, each record once."""
    last = ""
    columns = (REJECTED.c.digest, REJECTED.c.reason, REJECTED.c.rejected_at)
    while True:
        query = select(*columns).where(REJECTED.c.digest > last).order_by(REJECTED.c.digest)
        async with reading(database) as connection:
            rows = (await connection.execute(query.limit(PAGE))).all()
        if not rows:
            return
        last = rows[-1].digest
        if chosen := [row for row in rows if selection.matches(row.reason, row.rejected_at)]:
            yield chosen


async def find(database: AsyncEngine, digest: str) -> Record:
    """Read the record whose digest begins so.

    Raises:
        NoSuchRecord: none does, or several do.
    """
    if not re.fullmatch(r"[0-9a-f]{1,64}", digest):
        raise NoSuchRecord(f"{digest} is no id: `killstream rejected list` shows all")
    begins = REJECTED.c.digest.startswith(digest)
    async with database.connect() as connection:
        found = await connection.execute(select(REJECTED.c.digest).where(begins).limit(2))
        digests = [row.digest for row in found]
        if not digests:
            raise NoSuchRecord(f"no rejected record {digest}: `killstream rejected list` shows all")
        if len(digests) > 1:
            raise NoSuchRecord(f"several rejected records begin with {digest}: give more of it")
        (record,) = await _read(connection, digests)
    return record


async def take_up(
    database: AsyncEngine, digests: Sequence[str], next_try_in: timedelta, *, dry_run: bool = False
) -> Taken:
    """Move records to the ledger, all in one transaction: each is in one of the two at any time.

    What was refused is read anew; what still is no reference stays where it is.

    Args:
        database: where they are.
        digests: which ones.
        next_try_in: when the ledger sends them by itself.
        dry_run: read only.
    """
    taken = Taken()
    readable = []
    async with database.begin() as connection:
        for record in await _read(connection, digests, for_update=not dry_run):
            try:
                taken.references.append(reference_of(record))
                readable.append(record.id)
            except Invalid as error:
                taken.left[record.id] = str(error)
        if readable and not dry_run:
            taken.references = await _with_free_positions(connection, taken.references)
            await connection.execute(
                insert(LEDGER), [_entry(r, next_try_in) for r in taken.references]
            )
            await connection.execute(
                delete(REJECTED).where(among(connection, REJECTED.c.digest, readable))
            )
    return taken


def reference_of(record: Record) -> Reference:
    """Read what was refused: a reference, or what its source gave.

    Raises:
        Invalid: it is neither.
    """
    rejection = record.rejection
    value = rejection.value.encode()
    try:
        return decode_reference(value)
    except Invalid as error:
        no_reference = error
    source, position = rejection.source, rejection.position
    if source is None or position is None:
        source, position = REJECTED_SOURCE, 0
    for decode in (decode_document, decode_package):
        outcome = decode(value)
        if isinstance(outcome, Found):
            return outcome.reference(source, position)
    raise no_reference


async def _read(
    connection: AsyncConnection, digests: Sequence[str], *, for_update: bool = False
) -> list[Record]:
    query = select(REJECTED).where(among(connection, REJECTED.c.digest, digests))
    query = query.order_by(REJECTED.c.digest)
    rows = await connection.execute(query.with_for_update() if for_update else query)
    return [Record(r.digest, r.rejected_at, decode_rejection(r.rejection)) for r in rows]


async def _with_free_positions(
    connection: AsyncConnection, references: Sequence[Reference]
) -> list[Reference]:
    """Give positions of our own to those whose position is missing, or pending already."""
    used = set()
    for source in {reference.source for reference in references}:
        positions = [r.position for r in references if r.source == source]
        held = await connection.execute(
            select(LEDGER.c.position).where(
                LEDGER.c.source == source, among(connection, LEDGER.c.position, positions)
            )
        )
        used |= {(source, row.position) for row in held}
    allotted = count(time.time_ns() // 1000)
    free = []
    for reference in references:
        place = (reference.source, reference.position)
        if reference.source == REJECTED_SOURCE or place in used:
            reference = msgspec.structs.replace(
                reference, source=REJECTED_SOURCE, position=next(allotted)
            )
        used.add(place)
        free.append(reference)
    return free


def _entry(reference: Reference, next_try_in: timedelta) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "source": reference.source,
        "position": reference.position,
        "reference": encode_reference(reference),
        "kind": "received",
        "killmail_id": reference.killmail_id,
        "killmail_hash": reference.hash,
        "received_at": now,
        "next_try_at": now + next_try_in,
    }


def by_size(values: Sequence[bytes], most_bytes: int) -> Iterator[list[bytes]]:
    """Cut a list into lists of a bounded size."""
    chunk: list[bytes] = []
    size = 0
    for value in values:
        if chunk and size + len(value) > most_bytes:
            yield chunk
            chunk, size = [], 0
        chunk.append(value)
        size += len(value)
    if chunk:
        yield chunk


def lines(listing: Listing) -> list[str]:
    """Write a listing for people."""
    written = [f"{number:>9,}  {reason}" for reason, number in listing.reasons.items()]
    written.append(f"{listing.total:>9,}  in all")
    if listing.newest:
        written.append("")
    return [*written, *(_line(record) for record in listing.newest)]


def _line(record: Record) -> str:
    rejection = record.rejection
    killmail: Any = "-" if rejection.killmail_id is None else rejection.killmail_id
    return (
        f"{record.id[:SHOWN_ID]}  {record.rejected_at:%Y-%m-%d %H:%M:%S}  killmail {killmail}"
        f"  {rejection.source or '-'}  {rejection.reason}"
    )
