"""Messages of graphql-transport-ws as frames, in the form in which many clients can share them.

A `next` message is a prefix with the operation's id, then the result. Frames of a server aren't
masked (RFC 6455), so the bytes between the prefixes are the same for all ids of one length.
"""

import struct
from collections.abc import Iterable

import msgspec

_encode = msgspec.json.Encoder().encode


def header(size: int) -> bytes:
    """Make the head of a text frame with a payload of that many bytes."""
    if size < 126:
        return bytes((0x81, size))
    is_long = size >= 65_536
    return struct.pack("!BBQ" if is_long else "!BBH", 0x81, 127 if is_long else 126, size)


def next_prefix(operation_id: str) -> bytes:
    """Make the beginning of an operation's `next` messages, up to their result."""
    return b'{"type":"next","id":%b,"payload":' % _encode(operation_id)


def parts_of(results: Iterable[bytes], prefix_bytes: int) -> list[bytes]:
    """Make what stands before, between and after the prefixes of consecutive `next` messages.

    `prefix.join(parts)` is one frame for each result, for any prefix of that length.
    """
    parts, end = [], b""
    for result in results:
        parts.append(end + header(prefix_bytes + len(result) + 1))
        end = result + b"}"
    parts.append(end)
    return parts


def message(kind: str, operation_id: str, payload: bytes | None = None) -> bytes:
    """Make a message of an operation, as JSON."""
    start = b'{"type":"%b","id":%b' % (kind.encode(), _encode(operation_id))
    return start + (b"}" if payload is None else b',"payload":%b}' % payload)
