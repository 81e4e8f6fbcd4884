"""Compress ESI's bodies for storage: one zstd frame per body, byte for byte."""

import threading

import zstandard

from actors.shared.killmail import MAX_BODY_BYTES

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
