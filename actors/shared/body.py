"""Compress ESI's bodies and zKillboard's blocks for storage: a zstd frame each, byte for byte.

A frame names the dictionary that it needs in its header, or none. Dictionaries are in the table
`dictionaries`; this module knows those that the process has read from there. Their ids are random,
so that an id never means another dictionary, whatever database the process has seen before.
"""

import threading
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
import structlog
import zstandard

from actors.shared.errors import Invalid
from actors.shared.killmail import (
    MAX_BODY_BYTES,
    Attacker,
    Killmail,
    parse_attackers,
    parse_killmail,
)

T = TypeVar("T")

log: Final = structlog.get_logger()

NO_DICTIONARY: Final = 0
"""The id that zstd uses for none."""
LEVEL: Final = 3
"""With a dictionary: 335 bytes and 7 us a body; level 6 would give 309 in 25 us."""
_FRAME: Final = b"\x28\xb5\x2f\xfd"
"""How each frame begins."""

_dictionaries: Final[dict[int, zstandard.ZstdCompressionDict]] = {}
_local = threading.local()


class MissingDictionary(zstandard.ZstdError):
    """A body's dictionary isn't known, and isn't in the database when a read has looked there."""

    def __init__(self, dictionary_id: int) -> None:
        super().__init__(
            f"compressed with dictionary {dictionary_id}, which the table dictionaries lacks"
        )


def learn(dictionary_id: int, dictionary: bytes) -> None:
    """Make a dictionary known to this process."""
    data = zstandard.ZstdCompressionDict(dictionary)
    data.precompute_compress(level=LEVEL)
    _dictionaries[dictionary_id] = data


def is_known(dictionary_id: int) -> bool:
    """Tell whether a dictionary is known; `NO_DICTIONARY` always is."""
    return dictionary_id == NO_DICTIONARY or dictionary_id in _dictionaries


def dictionary_of(packed: bytes) -> int:
    """Return the id of the dictionary that a frame needs; `NO_DICTIONARY` for what is no frame."""
    try:
        found: int = zstandard.get_frame_parameters(packed).dict_id
    except zstandard.ZstdError:
        return NO_DICTIONARY
    return found


def pack(body: bytes, dictionary_id: int = NO_DICTIONARY) -> bytes:
    """Compress a body: to about a quarter of its size, with a dictionary to an eighth.

    Raises:
        MissingDictionary: the dictionary isn't known.
    """
    packed: bytes = _compressor(dictionary_id).compress(body)
    return packed


def unpack(packed: bytes) -> bytes:
    """Decompress what `pack` returned.

    Raises:
        MissingDictionary: read the row with `actors.shared.dictionaries`, which learns it.
        ZstdError: it can't be decompressed.
    """
    decompressor = _decompressor(dictionary_of(packed))
    body: bytes = decompressor.decompress(packed, max_output_size=MAX_BODY_BYTES)
    return body


def pack_zkb(zkb: bytes | msgspec.Raw, dictionary_id: int = NO_DICTIONARY) -> bytes | None:
    """Compress zKillboard's block, if there is one; raises like `pack`."""
    return pack(bytes(zkb), dictionary_id) if zkb else None


def unpack_zkb(stored: bytes | None) -> bytes:
    """Decompress what `pack_zkb` returned: b"" for None. Raises like `unpack`.

    Blocks from before they were compressed are the JSON itself.
    """
    if not stored:
        return b""
    return unpack(stored) if stored.startswith(_FRAME) else stored


def _compressor(dictionary_id: int) -> zstandard.ZstdCompressor:
    """Return this thread's compressor: it isn't safe to share."""
    made: dict[int, zstandard.ZstdCompressor] = _local.__dict__.setdefault("compressors", {})
    if dictionary_id not in made:
        data = _known(dictionary_id)
        made[dictionary_id] = zstandard.ZstdCompressor(level=LEVEL, dict_data=data)
    return made[dictionary_id]


def _decompressor(dictionary_id: int) -> zstandard.ZstdDecompressor:
    made: dict[int, zstandard.ZstdDecompressor] = _local.__dict__.setdefault("decompressors", {})
    if dictionary_id not in made:
        made[dictionary_id] = zstandard.ZstdDecompressor(dict_data=_known(dictionary_id))
    return made[dictionary_id]


def _known(dictionary_id: int) -> zstandard.ZstdCompressionDict | None:
    if dictionary_id == NO_DICTIONARY:
        return None
    try:
        return _dictionaries[dictionary_id]
    except KeyError:
        raise MissingDictionary(dictionary_id) from None


def parse_stored(killmail_id: int, packed: bytes) -> Killmail | None:
    """Read a stored killmail; one that can't be read is logged, and doesn't block the others."""
    return _parsed(parse_killmail, killmail_id, packed)


def stored_attackers(killmail_id: int, packed: bytes) -> tuple[Attacker, ...]:
    """Read the attackers of a stored killmail; none of one that can't be read, which is logged."""
    return _parsed(parse_attackers, killmail_id, packed) or ()


def _parsed(parse: Callable[[bytes], T], killmail_id: int, packed: bytes) -> T | None:
    try:
        return parse(unpack(packed))
    except (Invalid, zstandard.ZstdError) as error:
        log.error("killmail.unreadable", killmail_id=killmail_id, reason=repr(error))
        return None


def zkb_or_none(killmail_id: int, stored: bytes | None) -> bytes:
    """Read a stored block; one that can't be read is logged, and is as if there were none."""
    try:
        return unpack_zkb(stored)
    except zstandard.ZstdError as error:
        log.error("killmail.unreadable", killmail_id=killmail_id, reason=repr(error))
        return b""
