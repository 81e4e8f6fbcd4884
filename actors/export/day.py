"""Export one day to one file."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import BinaryIO, Final, Literal, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.export.manifest import ExportedFile, replaced, writing
from actors.export.ndjson import NdjsonWriter
from actors.export.parquet import ParquetWriter
from actors.export.read import Stored, count_killmails, killmails_of, read_feed, unpacked
from actors.shared.database import reading_one_state

Format = Literal["parquet", "ndjson"]
OnProgress = Callable[[int, int], None]
"""Is called with the rows written, and all of the day."""
FORMAT_VERSION: Final = 1


class Writer(Protocol):
    """Writes killmails to a file."""

    def add(self, killmail: Stored, /) -> None:
        """Take a killmail."""

    def close(self) -> None:
        """Write what is left; the file stays open."""

    def abandon(self) -> None:
        """Write nothing more, also not when the writer is deleted."""


WRITERS: Final[dict[Format, Callable[[BinaryIO], Writer]]] = {
    "parquet": ParquetWriter,
    "ndjson": NdjsonWriter,
}


def name_of(day: date, format_: Format) -> str:
    """Return the name of a day's file."""
    return f"{day}.{format_}"


async def export_day(
    database: AsyncEngine, directory: Path, day: date, format_: Format, on_progress: OnProgress
) -> ExportedFile:
    """Write a day's file from one state of the database; a day without killmails has no rows.

    The file appears under its name when it is whole. On an error, or when it is cancelled, a
    former one stays.

    Raises:
        CannotWrite: the disk refuses it.
        Invalid: a stored body isn't a killmail; says which.
    """
    path = directory / name_of(day, format_)
    with replaced(path) as part:
        async with reading_one_state(database) as connection:
            sequence = (await read_feed(connection)).last_sequence
            exported_at = datetime.now(UTC)
            rows = await _write(connection, path, part, day, format_, on_progress)
        with part.open("rb") as written:
            digest = hashlib.file_digest(written, "sha256").hexdigest()
        return ExportedFile(
            day=day,
            format=format_,
            format_version=FORMAT_VERSION,
            rows=rows,
            bytes=part.stat().st_size,
            sha256=digest,
            exported_at=exported_at,
            sequence=sequence,
        )


async def _write(
    connection: AsyncConnection,
    path: Path,
    part: Path,
    day: date,
    format_: Format,
    on_progress: OnProgress,
) -> int:
    """Write the killmails, return their number."""
    total, rows = await count_killmails(connection, day), 0
    with _writer_of(path, part, format_) as writer:
        async for page in killmails_of(connection, day):
            with writing(path):
                for killmail in page:
                    writer.add(unpacked(killmail))
            rows += len(page)
            if total:
                on_progress(rows, total)
    return rows


@contextmanager
def _writer_of(path: Path, part: Path, format_: Format) -> Iterator[Writer]:
    """Open a writer; the file's end is written only without an error."""
    with writing(path):
        file = part.open("wb")
        writer = WRITERS[format_](file)
    try:
        yield writer
        with writing(path):
            writer.close()
            file.close()
    except BaseException:
        writer.abandon()
        with suppress(OSError):  # it tries to write again what it couldn't
            file.close()
        raise
