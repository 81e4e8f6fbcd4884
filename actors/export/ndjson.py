"""Write killmails as JSON, one in a line, with ESI's body byte for byte."""

from typing import BinaryIO

import msgspec

from actors.export.read import Stored


class NdjsonWriter:
    """Writes lines to a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def add(self, killmail: Stored) -> None:
        """Write a killmail."""
        self._file.write(to_line(killmail))

    def close(self) -> None:
        """End the file; nothing is left to write."""

    def abandon(self) -> None:
        """Stop; nothing is left to write."""


def to_line(killmail: Stored) -> bytes:
    """Build the line of a killmail.

    A body with line breaks, which JSON allows between tokens only, has spaces instead.
    """
    hash_ = msgspec.json.encode(killmail.killmail_hash)
    return b'{"killmail_id":%d,"killmail_hash":%b,"killmail":%b,"zkb":%b}\n' % (
        killmail.killmail_id,
        hash_,
        _in_one_line(killmail.body),
        _in_one_line((killmail.zkb or "null").encode()),
    )


def _in_one_line(json: bytes) -> bytes:
    return json.replace(b"\n", b" ").replace(b"\r", b" ")
