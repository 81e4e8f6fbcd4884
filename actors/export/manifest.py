"""The file `manifest.json` of an export: which files are whole, and what they have."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Final

import msgspec

from actors.shared.errors import DECODE_ERRORS, KillstreamError, Misconfigured

NAME: Final = "manifest.json"
LOCK: Final = ".lock"


class CannotWrite(KillstreamError):
    """A file of the export can't be written; says why."""


class ExportedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A whole file."""

    day: date
    format: str
    """`parquet` or `ndjson`."""
    format_version: int
    """Rises when a change of the format breaks readers."""
    rows: int
    bytes: int
    sha256: str
    exported_at: datetime
    sequence: int
    """The feed's last sequence in the state that was read: the file is exact up to it."""


class Manifest(msgspec.Struct, kw_only=True):
    """What a directory has."""

    v: int = 1
    feed_id: str
    """The feed of the database, which the sequences belong to."""
    files: dict[str, ExportedFile] = {}
    """By the file's name."""


@contextmanager
def open_directory(directory: Path) -> Iterator[None]:
    """Create a directory and lock it for the length of the block.

    Raises:
        Misconfigured: it can't be written, or another export writes there.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = (directory / LOCK).open("a")
    except OSError as error:
        raise Misconfigured(f"can't write to {directory}: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Misconfigured(f"another export writes to {directory}") from None
        yield


def read_manifest(directory: Path, feed_id: str) -> Manifest:
    """Read the manifest; an empty one if there is none.

    Raises:
        Misconfigured: it can't be read, or it belongs to another database's feed.
    """
    path = directory / NAME
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        return Manifest(feed_id=feed_id)
    except DECODE_ERRORS as error:
        raise Misconfigured(f"{path} isn't an export's manifest: {error}") from None
    except OSError as error:
        raise Misconfigured(f"can't read {path}: {error.strerror}") from None
    if manifest.feed_id != feed_id:
        raise Misconfigured(
            f"{directory} has an export of another database (feed {manifest.feed_id}, and this"
            f" one is {feed_id}): choose another --out"
        )
    return manifest


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Replace the manifest as a whole.

    Raises:
        CannotWrite: the disk refuses it.
    """
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
    path = directory / NAME
    with replaced(path) as part, writing(path):
        part.write_bytes(text)


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a temporary name; the file is renamed at the end of the block, and removed on an error.

    Raises:
        CannotWrite: the disk refuses it.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        with writing(path):
            _sync(part)
            part.replace(path)
            _sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name the file in errors of the disk.

    Raises:
        CannotWrite: the disk refuses it.
    """
    try:
        yield
    except OSError as error:
        raise CannotWrite(f"can't write {path}: {error.strerror or error}") from None


def is_whole(directory: Path, name: str, manifest: Manifest, version: int) -> bool:
    """Tell whether a file is as the manifest says, by its size, and of this version."""
    exported = manifest.files.get(name)
    if exported is None or exported.format_version != version:
        return False
    try:
        return (directory / name).stat().st_size == exported.bytes
    except FileNotFoundError:
        return False


def _sync(path: Path) -> None:
    """Wait until a file or directory is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
