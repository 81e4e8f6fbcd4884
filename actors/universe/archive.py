"""Read an archive of static data, whatever somebody may have put into it.

The archive is never unpacked. Only the files that we know are read, line by line, within limits;
their sizes and checksums are checked on the way.
"""

import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final, NamedTuple

import msgspec

from actors.shared.errors import DECODE_ERRORS, Invalid
from actors.universe.records import BUILD_FILE, BUILD_KEY, FILES, Build, File, Row

MAX_FILE_BYTES: Final = 512 * 1024 * 1024
"""Of one file, unpacked. The largest that we read has 150 MB."""
MAX_LINE_BYTES: Final = 1024 * 1024
MAX_ROWS: Final = 250_000
"""Lines of one file, and rows of all: CCP's archive has 51,000 and 77,000."""
MAX_READ_BYTES: Final = 1024 * 1024
"""What is read at once of the archive. Its directory is one such read: it has 60 entries."""
_COMPRESSION: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Others may need much memory to unpack."""
_ENCRYPTED: Final = 0x1
_NOT_AN_ARCHIVE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,  # zipfile's, for a newer version of the format
    UnicodeDecodeError,
    ValueError,
    OSError,
)
"""What zipfile raises for wrong archives."""

Tables = dict[str, dict[int, Row]]
"""By table, its rows by id."""
OnFile = Callable[[int, int], None]


class Archive(NamedTuple):
    """The contents of an archive."""

    build_number: int | None
    tables: Tables


class _SmallReads(io.BufferedReader):
    """A file of which little is read at once, so that no header makes us take much memory."""

    def read(self, size: int | None = -1, /) -> bytes:
        size = MAX_READ_BYTES if size is None or size < 0 else size
        if size > MAX_READ_BYTES:
            raise Invalid("the archive has too large a directory")
        return super().read(size)


def read_archive(file: BinaryIO, on_file: OnFile = lambda done, total: None) -> Archive:
    """Read all that is used of an archive. Blocks for seconds.

    Args:
        file: The archive, open for reading at any position.
        on_file: Called with the number of files that were read, and of all.

    Raises:
        Invalid: it isn't a complete archive of static data; says what is wrong.
    """
    reader = _SmallReads(file)  # type: ignore[arg-type]  # all have readinto
    try:
        with _explained():
            zipped = zipfile.ZipFile(reader)
        with zipped:
            return _read(zipped, on_file)
    finally:
        reader.detach()  # or it would close the file


def _read(zipped: zipfile.ZipFile, on_file: OnFile) -> Archive:
    members = _members(zipped)
    tables: Tables = {}
    for number, wanted in enumerate(FILES):
        on_file(number, len(FILES))
        tables[wanted.table.name] = _read_rows(zipped, members, wanted)
        if sum(map(len, tables.values())) > MAX_ROWS:
            raise Invalid(f"the archive has more than {MAX_ROWS} rows")
    on_file(len(FILES), len(FILES))
    return Archive(_read_build(zipped, members), tables)


def _members(zipped: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Find the files that are used; they may be in a folder.

    Raises:
        Invalid: one is there twice, is encrypted, is too large or packed in an unusual way.
    """
    known = {BUILD_FILE, *(file.name for file in FILES)}
    found: dict[str, zipfile.ZipInfo] = {}
    for member in zipped.infolist():
        name = member.filename.rpartition("/")[2]
        if name not in known:
            continue
        if name in found:
            raise Invalid(f"the archive has {name} twice")
        if member.flag_bits & _ENCRYPTED or member.compress_type not in _COMPRESSION:
            raise Invalid(f"the archive's {name} is encrypted, or packed in an unusual way")
        if member.file_size > MAX_FILE_BYTES:
            raise Invalid(f"the archive's {name} has more than {MAX_FILE_BYTES} bytes")
        found[name] = member
    return found


def _read_rows(
    zipped: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], file: File
) -> dict[int, Row]:
    rows: dict[int, Row] = {}
    member = members.get(file.name)
    if member is None:
        raise Invalid(f"the archive has no {file.name}")
    for number, line in _lines(zipped, member):
        try:
            row: Row = file.decode(line).row()
        except DECODE_ERRORS as error:
            raise Invalid(f"{file.name}, line {number}: {error}") from None
        if row[0] in rows:
            raise Invalid(f"{file.name}, line {number}: {row[0]} is there twice")
        rows[row[0]] = row
    if not rows:
        raise Invalid(f"the archive's {file.name} is empty")
    return rows


def _read_build(zipped: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> int | None:
    """Return the build number; None where the archive doesn't tell."""
    member = members.get(BUILD_FILE)
    for _, line in _lines(zipped, member) if member else ():
        try:
            build = msgspec.json.decode(line, type=Build)
        except DECODE_ERRORS:
            continue
        if build.key == BUILD_KEY:
            return build.build_number
    return None


def _lines(zipped: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that aren't blank, with their numbers; checks the file's checksum."""
    with _explained(), zipped.open(member) as opened:
        reader = io.BufferedReader(opened, MAX_READ_BYTES)  # type: ignore[type-var]
        for number in range(1, MAX_ROWS + 2):
            line = reader.readline(MAX_LINE_BYTES + 1)
            if not line:
                return
            if len(line) > MAX_LINE_BYTES or number > MAX_ROWS:
                raise Invalid(f"{member.filename}, line {number}: too long, or too many lines")
            if not line.isspace():
                yield number, line


@contextmanager
def _explained() -> Iterator[None]:
    """Raise Invalid for what zipfile raises."""
    try:
        yield
    except _NOT_AN_ARCHIVE as error:
        raise Invalid(f"not a complete zip archive: {error}") from None
