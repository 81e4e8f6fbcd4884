"""Load the static universe: from the configured URL if it has changed, or from a file."""

import hashlib
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, NamedTuple

import aiohttp
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.daemon import in_daemon
from actors.shared.errors import Invalid
from actors.shared.settings import Settings, masked
from actors.universe.archive import Archive, read_archive
from actors.universe.download import MAX_BYTES, downloading
from actors.universe.schedule import checked
from actors.universe.store import replace_universe, stored_universe, write_universe

log: Final = structlog.get_logger()

Stage = Literal["download", "read", "store"]
OnProgress = Callable[[Stage, int, int | None], None]
_CHUNK_BYTES: Final = 1024 * 1024


def _ignore(stage: Stage, done: int, total: int | None) -> None:
    """Report no progress."""


class Loaded(NamedTuple):
    """What a load has done."""

    build_number: int | None
    is_new: bool
    """False: what was loaded before is what the archive has."""
    rows: dict[str, int]
    """By table, all rows of the archive; empty if it wasn't read."""
    changed: int
    """Rows that changed."""


class OlderArchive(Invalid):
    """The archive has an older build than what is loaded."""


async def load_from_url(
    settings: Settings,
    database: AsyncEngine,
    http: aiohttp.ClientSession,
    *,
    force: bool = False,
    on_progress: OnProgress = _ignore,
) -> Loaded:
    """Load the archive from `KILLSTREAM_SDE_URL`, unless it is what was loaded from there.

    What was loaded before stays if anything fails.

    Args:
        settings: The URL, and the directory of the temporary file.
        database: Where the universe goes.
        http: What sends the request.
        force: Download and load in any case.
        on_progress: Called with stage, what is done and the total if it is known.

    Raises:
        ServerUnavailable: the upstream doesn't answer, or doesn't give a whole file.
        Invalid: what it gives isn't an archive of static data, or much is missing in it.
        OlderArchive: it is older than what is loaded.
        Misconfigured: the contact is missing, or the data directory can't be used.
    """
    stored = await stored_universe(database)
    source = masked(settings.sde_url)
    is_known = stored is not None and stored.source == source and not force
    etag = stored.etag if is_known and stored.loaded_at else None
    on_bytes = partial(on_progress, "download")
    async with downloading(settings, http, etag, on_bytes) as downloaded:
        if downloaded is None:
            async with database.begin() as connection:
                await write_universe(connection, **checked())
            return Loaded(stored.build_number, False, {}, 0)
        facts = {"source": source, "etag": downloaded.etag, **checked()}
        return await _load(
            database, downloaded.file, downloaded.digest, facts, stored, force, on_progress
        )


async def load_from_file(
    database: AsyncEngine, path: Path, *, force: bool = False, on_progress: OnProgress = _ignore
) -> Loaded:
    """Load a local archive. It is replaced when the URL has a newer build.

    Raises:
        Invalid: the file can't be read, or isn't an archive of static data.
        OlderArchive: it is older than what is loaded.
    """
    stored = await stored_universe(database)
    with _open(path) as file:
        digest = await in_daemon(partial(_digest, file), "universe digest")
        facts: dict[str, Any] = {"source": path.name, "etag": None, "last_error": None, "tries": 0}
        return await _load(database, file, digest, facts, stored, force, on_progress)


async def _load(
    database: AsyncEngine,
    file: BinaryIO,
    digest: str,
    facts: dict[str, Any],
    stored: Any,
    force: bool,
    on_progress: OnProgress,
) -> Loaded:
    if stored is not None and stored.digest == digest and not force:
        if facts["etag"] is None:  # a file: what is known of the URL stays
            facts = {name: facts[name] for name in ("last_error", "tries")}
        async with database.begin() as connection:
            await write_universe(connection, **facts)
        return Loaded(stored.build_number, False, {}, 0)
    archive: Archive = await in_daemon(
        partial(read_archive, file, partial(on_progress, "read")), "universe read"
    )
    if not force:
        _check_not_older(archive.build_number, stored)
    on_progress("store", 0, 1)
    changed = await replace_universe(
        database,
        archive.tables,
        force=force,
        build_number=archive.build_number,
        digest=digest,
        loaded_at=datetime.now(UTC),
        **facts,
    )
    on_progress("store", 1, 1)
    rows = {name: len(found) for name, found in archive.tables.items()}
    log.info(
        "universe.loaded", build=archive.build_number, rows=sum(rows.values()), changed=changed
    )
    return Loaded(archive.build_number, True, rows, changed)


def _check_not_older(build_number: int | None, stored: Any) -> None:
    loaded = stored.build_number if stored else None
    if build_number is not None and loaded is not None and build_number < loaded:
        raise OlderArchive(f"build {build_number} is older than build {loaded}, which is loaded")


@contextmanager
def _open(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Invalid(f"{path} has more than {MAX_BYTES} bytes")
        file = path.open("rb")
    except OSError as error:
        raise Invalid(f"can't read {path}: {error.strerror}") from None
    with file:
        yield file


def _digest(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()
