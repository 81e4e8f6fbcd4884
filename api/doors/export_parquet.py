"""Exports as Parquet."""

import io
from collections.abc import Iterable
from typing import Any, BinaryIO, Final, cast

import msgspec

from actors.export.parquet import ParquetWriter
from api.doors.export_formats import Cut, stored_of
from api.view import View

ROW_GROUP_BYTES: Final = 4 * 1024 * 1024
"""Arrow's bytes in a row group, which bound the memory of an export."""


class Parquet:
    """A file as of `killstream export`; a cut is in its metadata, as `killstream.cut`."""

    media_type = "application/vnd.apache.parquet"
    with_names = False

    def __init__(self) -> None:
        self._file = _Parts()
        self._writer = ParquetWriter(cast(BinaryIO, self._file), ROW_GROUP_BYTES)

    def add(self, views: Iterable[View]) -> bytes:
        """Take killmails."""
        for view in views:
            self._writer.add(stored_of(view))
        return self._file.take()

    def end(self, cut: Cut | None) -> bytes:
        """Write what is left, and the footer."""
        metadata = {} if cut is None else {"killstream.cut": msgspec.json.encode(cut).decode()}
        self._writer.close(metadata)
        return self._file.take()


class _Parts(io.RawIOBase):
    """A file of which only what nobody has taken is kept."""

    def __init__(self) -> None:
        super().__init__()
        self._part = bytearray()
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        size = memoryview(data).nbytes
        self._part += data
        self._position += size
        return size

    def seek(self, _offset: int, _whence: int = io.SEEK_CUR, /) -> int:
        """Return the position, for those who ask where it is."""
        return self._position

    def take(self) -> bytes:
        part, self._part = bytes(self._part), bytearray()
        return part
