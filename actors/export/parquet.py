"""Write killmails as Parquet, with nested attackers, items and zkb."""

from io import BytesIO
from typing import BinaryIO, Final

import msgspec
import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

from actors.export.read import Stored
from actors.export.schema import SCHEMA, to_row

CHUNK_BYTES: Final = 4 * 1024 * 1024
"""JSON that is converted at once."""
ROW_GROUP_BYTES: Final = 32 * 1024 * 1024
"""Arrow's bytes in a row group, which bound the memory."""


class ParquetWriter:
    """Writes row groups to a file."""

    def __init__(self, file: BinaryIO, row_group_bytes: int = ROW_GROUP_BYTES) -> None:
        self._row_group_bytes = row_group_bytes
        self._writer = pq.ParquetWriter(file, SCHEMA, compression="zstd")
        self._lines = bytearray()
        self._tables: list[pa.Table] = []

    def add(self, killmail: Stored) -> None:
        """Take a killmail; it is written with its row group.

        Raises:
            Invalid: the stored body isn't a killmail; says which.
        """
        self._lines += msgspec.json.encode(to_row(killmail)) + b"\n"
        if len(self._lines) >= CHUNK_BYTES:
            self._convert()
            if sum(table.nbytes for table in self._tables) >= self._row_group_bytes:
                self._write()

    def close(self, metadata: dict[str, str] | None = None) -> None:
        """Write what is left, and the file's end with metadata of its own."""
        if self._lines:
            self._convert()
        if self._tables:
            self._write()
        if metadata:
            self._writer.add_key_value_metadata(metadata)
        self._writer.close()

    def abandon(self) -> None:
        """Write nothing more."""
        self._writer.is_open = False  # else its finalizer writes to the closed file

    def _convert(self) -> None:
        read = pj.ReadOptions(use_threads=False, block_size=len(self._lines) + 1)
        parse = pj.ParseOptions(explicit_schema=SCHEMA, unexpected_field_behavior="ignore")
        lines = BytesIO(self._lines)
        self._tables.append(pj.read_json(lines, read_options=read, parse_options=parse))
        self._lines.clear()

    def _write(self) -> None:
        self._writer.write_table(pa.concat_tables(self._tables), row_group_size=1_000_000)
        self._tables.clear()
