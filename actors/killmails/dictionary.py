"""Train dictionaries for bodies and zkb blocks from stored killmails."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, NamedTuple

import structlog
import zstandard
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.shared.body import NO_DICTIONARY, pack, unpack, unpack_zkb
from actors.shared.daemon import in_daemon
from actors.shared.database import reading
from actors.shared.dictionaries import current_dictionary, read_bodies
from actors.shared.errors import KillstreamError
from actors.shared.rows import insert_missing
from actors.shared.tables import DICTIONARIES, KILLMAILS

log: Final = structlog.get_logger()

SAMPLES: Final = 20_000
"""Killmails that a dictionary is trained from; the first is, when so many are stored."""
LEAST_SAMPLES: Final = 1_000
DICTIONARY_BYTES: Final = 32_768
"""112 kB are not better."""
MAX_SAMPLE_BYTES: Final = 65_536
"""What is behind that in a body is more of the same."""
MAX_BYTES: Final = 128 * 1024 * 1024
"""Of all samples together; 20,000 usual ones have 50 MB."""
_PROBES: Final = 50
_PER_PROBE: Final = 200
_PER_QUERY: Final = 500
_MIN_ID, _MAX_ID = 2**15, 2**31 - 1
"""The ids below are reserved. Source: the documentation of zstd's format, `Dictionary_ID`."""

_ID: Final = KILLMAILS.c.killmail_id
_BODIES: Final = select(_ID, KILLMAILS.c.body, KILLMAILS.c.zkb)


class TooFew(KillstreamError):
    """There are too few killmails to train from."""


class Sample(NamedTuple):
    """What of a killmail is compressed. One dictionary is as good for both as two would be."""

    body: bytes
    zkb: bytes


class Trained(NamedTuple):
    """A new dictionary, and what it gains: measured on samples that it wasn't trained from."""

    version: int
    killmails: int
    bytes_before: float
    """Mean size of body and zkb block without a dictionary."""
    bytes_after: float


async def train_first(database: AsyncEngine) -> Trained | None:
    """Train a dictionary if there is none, and enough killmails are stored."""
    enough = select(func.count()).select_from(select(_ID).limit(SAMPLES).subquery())
    async with reading(database) as connection:
        if await _newest_version(connection) or (await connection.scalar(enough) or 0) < SAMPLES:
            return None
    return await train(database)


async def train(database: AsyncEngine) -> Trained | None:
    """Train a dictionary from half the newest killmails and half older ones; takes some seconds.

    What is stored from now on is compressed with it, and `recompress` does it with what is there.
    Of several trainings at once one counts; None for the others.

    Raises:
        TooFew: there are less than `LEAST_SAMPLES` killmails.
    """
    async with reading(database) as connection:
        version = await _newest_version(connection) + 1
        samples = await _samples(connection)
    if len(samples) < LEAST_SAMPLES:
        raise TooFew(f"there are {len(samples):,} killmails; {LEAST_SAMPLES:,} are needed")
    tested = samples[::10]
    used = [one for number, one in enumerate(samples) if number % 10]
    parts: list[Any] = [part for one in used for part in one if part]
    dictionary_id = _MIN_ID + secrets.randbelow(_MAX_ID - _MIN_ID)
    training = partial(zstandard.train_dictionary, DICTIONARY_BYTES, parts, dict_id=dictionary_id)
    dictionary = (await in_daemon(training, "dictionary")).as_bytes()
    async with database.begin() as connection:
        row = {
            "version": version,
            "dictionary_id": dictionary_id,
            "dictionary": dictionary,
            "killmails": len(used),
            "created_at": datetime.now(UTC),
            "recompressed_to": -1,
        }
        columns = {name: [value] for name, value in row.items()}
        if not await insert_missing(connection, DICTIONARIES, columns):
            return None
    async with reading(database) as connection:
        await current_dictionary(connection)
    trained = Trained(
        version,
        len(used),
        _mean_size(tested, NO_DICTIONARY),
        _mean_size(tested, dictionary_id),
    )
    log.info("dictionary.trained", **trained._asdict())
    return trained


def _mean_size(samples: Sequence[Sample], dictionary_id: int) -> float:
    packed = [len(pack(part, dictionary_id)) for one in samples for part in one if part]
    return sum(packed) / len(samples)


async def _samples(connection: AsyncConnection) -> list[Sample]:
    """Read killmails: some from all over the ids, and the newest."""
    found: dict[int, Sample] = {}
    bounds = (await connection.execute(select(func.min(_ID), func.max(_ID)))).one()
    first, last = bounds[0] or 0, bounds[1] or 0
    size = 0
    for probe in range(_PROBES):
        start = first + (last - first) * probe // _PROBES
        some = _BODIES.where(start <= _ID).order_by(_ID).limit(_PER_PROBE)
        size += _add(found, await read_bodies(connection, some))
    before = last + 1
    while len(found) < SAMPLES and size < MAX_BYTES:
        newest = _BODIES.where(before > _ID).order_by(_ID.desc()).limit(_PER_QUERY)
        rows = await read_bodies(connection, newest)
        if not rows:
            break
        size += _add(found, rows)
        before = rows[-1].killmail_id
    return [found[killmail_id] for killmail_id in sorted(found)]


def _add(found: dict[int, Sample], rows: Sequence[Any]) -> int:
    """Add samples; return their size."""
    size = 0
    for row in rows:
        try:
            sample = Sample(unpack(row.body)[:MAX_SAMPLE_BYTES], unpack_zkb(row.zkb))
        except zstandard.ZstdError:
            continue
        found[row.killmail_id] = sample
        size += len(sample.body) + len(sample.zkb)
    return size


async def _newest_version(connection: AsyncConnection) -> int:
    return await connection.scalar(select(func.max(DICTIONARIES.c.version))) or 0


class Listed(NamedTuple):
    """A dictionary, without its content."""

    version: int
    dictionary_id: int
    created_at: datetime
    bytes: int
    killmails: int
    """How many it was trained from."""
    recompressed_to: int | None
    """Older bodies are, up to this killmail_id; None: all are."""


async def list_dictionaries(database: AsyncEngine) -> list[Listed]:
    """List the dictionaries, the newest first."""
    columns = DICTIONARIES.c
    query = select(
        columns.version,
        columns.dictionary_id,
        columns.created_at,
        func.length(columns.dictionary),
        columns.killmails,
        columns.recompressed_to,
    ).order_by(columns.version.desc())
    async with reading(database) as connection:
        return [Listed(*row) for row in await connection.execute(query)]
