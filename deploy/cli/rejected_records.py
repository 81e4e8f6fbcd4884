"""Select rejected records by digest, reason and age, and move them to the ledger."""

import heapq
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.shared.among import among
from actors.shared.database import reading
from actors.shared.errors import Invalid, KillstreamError
from actors.shared.reference import Reference, decode_reference, encode_reference
from actors.shared.rejection import REJECTED_SOURCE, Rejection, decode_rejection
from actors.shared.tables import LEDGER, REJECTED
from deploy.cli.reasons import kind_of
from deploy.shorten import printable
from streams.sources.decode import Found, decode_document, decode_package

T = TypeVar("T")

PAGE: Final = 200
"""Records that are read or moved in one transaction."""

GROUPS: Final = 20
"""Reasons counted in a list for people; the rest is one line."""
SHOWN_ID: Final = 12
"""Characters of a digest in a list."""


class NoSuchRecord(KillstreamError):
    """No record's digest begins with the given text, or several do."""


@dataclass(frozen=True)
class Selection:
    """Conditions for records; the default selects all."""

    reason: str = ""
    """A text that the reason contains, or a regular expression; case-insensitive."""
    older_than_s: float | None = None
    newer_than_s: float | None = None
    before: datetime | None = None
    """Only records that were rejected before this time."""

    def matches(self, reason: str, rejected_at: datetime) -> bool:
        """Return whether a record meets all conditions."""
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
    """The counts of records by kind of reason, and the newest records."""

    total: int
    reasons: dict[str, int]
    """By reason, with ids and hashes replaced; the most frequent first."""
    newest: list[Record]


@dataclass
class Moved:
    """The result of `move_to_ledger`."""

    references: list[Reference] = field(default_factory=list)
    """The new entries of the ledger."""
    still_rejected: dict[str, str] = field(default_factory=dict)
    """Why a record can't be moved, by digest."""


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
    """Yield pages with digest, reason and time of the selected records, each record once."""
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
    """Read the record whose digest begins with a text.

    Raises:
        NoSuchRecord: there is none, or there are several.
    """
    if not re.fullmatch(r"[0-9a-f]{1,64}", digest):
        raise NoSuchRecord(f"{digest} isn't an id: `killstream rejected list` shows all")
    begins = REJECTED.c.digest.startswith(digest)
    async with reading(database) as connection:
        found = await connection.execute(select(REJECTED.c.digest).where(begins).limit(2))
        digests = [row.digest for row in found]
        if not digests:
            raise NoSuchRecord(f"no rejected record {digest}: `killstream rejected list` shows all")
        if len(digests) > 1:
            raise NoSuchRecord(
                f"several rejected records begin with {digest}: give more characters"
            )
        (record,) = await _read(connection, digests)
    return record


async def move_to_ledger(
    database: AsyncEngine, digests: Sequence[str], next_try_in: timedelta, *, dry_run: bool = False
) -> Moved:
    """Move records from the table rejected to the ledger, in one transaction.

    Decodes each record's input again. A record that still isn't a reference stays rejected.

    Args:
        database: the database.
        digests: the records to move.
        next_try_in: the time until the ledger's first recall of them.
        dry_run: changes nothing.
    """
    moved = Moved()
    readable = []
    async with database.begin() as connection:
        for record in await _read(connection, digests, for_update=not dry_run):
            try:
                moved.references.append(reference_of(record))
                readable.append(record.id)
            except Invalid as error:
                moved.still_rejected[record.id] = str(error)
        if readable and not dry_run:
            moved.references = await _with_free_positions(connection, moved.references)
            await connection.execute(
                insert(LEDGER), [_entry(r, next_try_in) for r in moved.references]
            )
            await connection.execute(delete(REJECTED).where(among(REJECTED.c.digest, readable)))
    return moved


def reference_of(record: Record) -> Reference:
    """Decode a record's input: a reference, or a document of its source.

    Raises:
        Invalid: it is neither.
    """
    rejection = record.rejection
    value = rejection.value.encode()
    try:
        return decode_reference(value)
    except Invalid as error:
        not_a_reference = error
    source, position = rejection.source, rejection.position
    if source is None or position is None:
        source, position = REJECTED_SOURCE, 0
    for decode in (decode_document, decode_package):
        outcome = decode(value)
        if isinstance(outcome, Found):
            return outcome.reference(source, position)
    raise not_a_reference


async def _read(
    connection: AsyncConnection, digests: Sequence[str], *, for_update: bool = False
) -> list[Record]:
    query = select(REJECTED).where(among(REJECTED.c.digest, digests))
    query = query.order_by(REJECTED.c.digest)
    rows = await connection.execute(query.with_for_update() if for_update else query)
    return [Record(r.digest, r.rejected_at, decode_rejection(r.rejection)) for r in rows]


async def _with_free_positions(
    connection: AsyncConnection, references: Sequence[Reference]
) -> list[Reference]:
    """Assign new positions to references whose position is missing or in the ledger already."""
    used = set()
    for source in {reference.source for reference in references}:
        positions = [r.position for r in references if r.source == source]
        held = await connection.execute(
            select(LEDGER.c.position).where(
                LEDGER.c.source == source, among(LEDGER.c.position, positions)
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


def by_size(values: Sequence[bytes], max_bytes: int) -> Iterator[list[bytes]]:
    """Split a list into lists of at most `max_bytes`; a longer value gets its own list."""
    chunk: list[bytes] = []
    size = 0
    for value in values:
        if chunk and size + len(value) > max_bytes:
            yield chunk
            chunk, size = [], 0
        chunk.append(value)
        size += len(value)
    if chunk:
        yield chunk


def lines(listing: Listing) -> list[str]:
    """Format a listing as text."""
    reasons = list(listing.reasons.items())
    text = [f"{number:>9,}  {printable(reason)}" for reason, number in reasons[:GROUPS]]
    if rest := reasons[GROUPS:]:
        number = sum(number for _, number in rest)
        text.append(f"{number:>9,}  for {len(rest):,} other reasons")
    text.append(f"{listing.total:>9,}  in total")
    if listing.newest:
        text.append("")
    return [*text, *(_line(record) for record in listing.newest)]


def _line(record: Record) -> str:
    rejection = record.rejection
    killmail: Any = "-" if rejection.killmail_id is None else rejection.killmail_id
    return (
        f"{record.id[:SHOWN_ID]}  {record.rejected_at:%Y-%m-%d %H:%M:%S}  killmail {killmail}"
        f"  {printable(rejection.source or '-')}  {printable(rejection.reason)}"
    )
