"""Compress ESI's bodies for storage: one zstd frame per body, byte for byte."""

import threading
from typing import Final

import structlog
import zstandard

from actors.shared.errors import Invalid
from actors.shared.killmail import MAX_BODY_BYTES, Killmail, parse_killmail

log: Final = structlog.get_logger()

_local = threading.local()


def pack(body: bytes) -> bytes:
    """Compress a body, to about a third of its size."""
    if not hasattr(_local, "compressor"):
        _local.compressor = zstandard.ZstdCompressor(level=3)
    packed: bytes = _local.compressor.compress(body)
    return packed


def unpack(packed: bytes) -> bytes:
    """Decompress what `pack` returned."""
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    body: bytes = _local.decompressor.decompress(packed, max_output_size=MAX_BODY_BYTES)
    return body


def parse_stored(killmail_id: int, packed: bytes) -> Killmail | None:
    """Read a stored killmail; one that can't be read is logged, and doesn't block the others."""
    try:
        return parse_killmail(unpack(packed))
    except (Invalid, zstandard.ZstdError) as error:
        log.error("killmail.unreadable", killmail_id=killmail_id, reason=repr(error))
        return None
