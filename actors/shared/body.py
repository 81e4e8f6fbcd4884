"""ESI's body at rest: one zstd frame, which gives back the very bytes that came."""

import threading

import zstandard

from actors.shared.killmail import MAX_BODY_BYTES

_local = threading.local()


def pack(body: bytes) -> bytes:
    """Compress a body; about a third of its size."""
    if not hasattr(_local, "compressor"):
        _local.compressor = zstandard.ZstdCompressor(level=3)
    packed: bytes = _local.compressor.compress(body)
    return packed


def unpack(packed: bytes) -> bytes:
    """Give back the bytes that `pack` took."""
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    body: bytes = _local.decompressor.decompress(packed, max_output_size=MAX_BODY_BYTES)
    return body
