"""A reference to a killmail, as a source gave it. The message of `killmails.received`.

Shape: {"v": 1, "source": "r2z2:host", "position": 96088891, "as_of": 1767793100.0,
"killmail_id": 132467594, "hash": "8ef2…" | absent, "zkb": {…} | absent,
"body": {ESI's body} | absent}; at least one of hash and body is present.
"""

import re
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec

from actors.shared.errors import DECODE_ERRORS, Invalid
from actors.shared.killmail import Id, Int64, Killmail
from actors.shared.zkb import Zkb

NO_JSON: Final = msgspec.Raw()
"""The value of absent fields."""

MAX_HASH_CHARS: Final = 100

SYNC_SOURCES: Final = ("esi:", "esi;")
"""The sources of syncs are between these; the position of their entries is the killmail's id."""
Origin = Literal["live", "sync", "import"]
"""What brought a killmail: the live feed, a user's sync, or an import of history."""
_ORIGINS: Final[dict[str, Origin]] = {
    "esi": "sync",
    "zkillboard": "import",
    "everef": "import",
    "r2z2-history": "import",
}

Source = Annotated[str, msgspec.Meta(min_length=1, pattern=r"^[^\0]*\Z")]
UnixSeconds = Annotated[float, msgspec.Meta(ge=0, lt=2**35)]
"""Bounded to years that both databases can store."""
Version = Annotated[int, msgspec.Meta(extra_json_schema={"const": 1})]
"""The version of a message's shape."""
RawZkb = Annotated[msgspec.Raw, msgspec.Meta(extra={"expected": Zkb})]
"""An object that isn't checked further."""
RawBody = Annotated[msgspec.Raw, msgspec.Meta(extra={"expected": Killmail})]
"""An object that isn't checked yet."""


class Reference(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A killmail as a source gave it: position, id and hash, and its body if known."""

    source: Source
    """Kind and host of the source: the key of its cursor and ledger entries."""
    position: Int64
    """Position in the source; the key by which the ledger entry is acked."""
    as_of: UnixSeconds
    """Unix seconds of this version by the upstream's clock; 0 where it doesn't say."""
    killmail_id: Id
    """The killmail's id."""
    hash: Annotated[str, msgspec.Meta(max_length=MAX_HASH_CHARS)] = ""
    """As the source gave it, trimmed and in lower case: 40 hex digits unless there is a body."""
    zkb: RawZkb = NO_JSON
    """zKillboard's block, unchanged; absent when the source has none."""
    body: RawBody = NO_JSON
    """ESI's body, unchanged and not checked yet; absent when it must be fetched from ESI."""
    v: Version = 1
    """Version of this shape."""


class Location(NamedTuple):
    """Source, position and killmail_id, as far as they are readable."""

    source: str | None
    position: int | None
    killmail_id: int | None


class _Partial(msgspec.Struct, frozen=True, gc=False):
    source: msgspec.Raw = NO_JSON
    position: msgspec.Raw = NO_JSON
    killmail_id: msgspec.Raw = NO_JSON


_decoder: Final = msgspec.json.Decoder(Reference)
_encoder: Final = msgspec.json.Encoder()
_partial: Final = msgspec.json.Decoder(_Partial)
_HASH: Final = re.compile(r"[0-9a-f]{40}\Z")
_HEAD_BYTES: Final = 1000
"""The part of an encoded reference that holds source, position and id."""


def origin_of(source: str) -> Origin:
    """Return what brings the killmails of a source, by its kind."""
    return _ORIGINS.get(source.partition(":")[0], "live")


def clean_hash(text: str) -> str:
    """Normalize a hash: trimmed, in lower case, at most `MAX_HASH_CHARS`."""
    return text.strip().lower()[:MAX_HASH_CHARS]


def is_hash(text: str) -> bool:
    """Tell whether this is a well-formed hash."""
    return _HASH.match(text) is not None


def encode_reference(reference: Reference) -> bytes:
    """Encode a reference as JSON, always with `v`."""
    # Only NO_JSON itself is omitted; another empty Raw would be encoded as an empty value.
    reference = msgspec.structs.replace(
        reference, zkb=reference.zkb or NO_JSON, body=reference.body or NO_JSON
    )
    return b'{"v":1,' + _encoder.encode(reference)[1:]


def decode_reference(value: bytes) -> Reference:
    """Decode a reference; body and zkb block aren't parsed.

    Raises:
        Invalid: it isn't a reference; says what is missing or wrong.
    """
    try:
        if not value.isascii():
            value.decode()  # the decoder doesn't check raw slices
        reference = _decoder.decode(value)
    except DECODE_ERRORS as error:
        raise Invalid(f"not a reference: {error}") from None
    if reference.v != 1:
        raise Invalid(f"not a reference: unknown version {reference.v}")
    if not is_hash(reference.hash):
        reference = msgspec.structs.replace(reference, hash=clean_hash(reference.hash))
        if not (reference.body or is_hash(reference.hash)):
            raise Invalid("not a reference: no body, and no hash to fetch it by")
    return reference


def locate(value: bytes) -> Location:
    """Read source, position and id even of an invalid or truncated reference."""
    try:
        partial = _partial.decode(value)
    except DECODE_ERRORS:
        partial = _Partial(
            *(_found(name, value[:_HEAD_BYTES]) for name in _Partial.__struct_fields__)
        )
    return Location(
        _read(partial.source, Source),
        _read(partial.position, Int64),
        _read(partial.killmail_id, Id),
    )


def _found(name: str, head: bytes) -> msgspec.Raw:
    match = re.search(rb'"%b":("[^"\\]*"|-?[0-9]+)[,}]' % name.encode(), head)
    return msgspec.Raw(match[1]) if match else NO_JSON


def _read(raw: msgspec.Raw, kind: Any) -> Any:
    try:
        return msgspec.json.decode(raw, type=kind) if raw else None
    except DECODE_ERRORS:
        return None
