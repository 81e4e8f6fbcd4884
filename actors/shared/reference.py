"""A reference: that a killmail exists, as a source gave it. The message of `killmails.received`.

Shape: {"v": 1, "source": "r2z2:host", "position": 96088891, "as_of": 1767793100.0,
"killmail_id": 132467594, "hash": "8ef2…" | absent, "zkb": {…} | absent,
"body": {ESI's body} | absent}; one of hash and body is there.
"""

import re
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from actors.shared.errors import Invalid
from actors.shared.killmail import Id, Int64

NO_JSON: Final = msgspec.Raw()
"""Stands for what is absent."""

MAX_HASH_CHARS: Final = 100

Source = Annotated[str, msgspec.Meta(min_length=1, pattern=r"^[^\0]*\Z")]
UnixSeconds = Annotated[float, msgspec.Meta(ge=0, lt=2**35)]
"""Up to a year that every clock and table knows."""


class Reference(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Where it came from, which killmail, and what is known of it already."""

    source: Source
    """Which feed, with its host: the name under which the position is kept."""
    position: Int64
    """Place in that feed; what the ledger is acked by."""
    as_of: UnixSeconds
    """Unix seconds of this version of the data; a later one wins."""
    killmail_id: Id
    hash: Annotated[str, msgspec.Meta(max_length=MAX_HASH_CHARS)] = ""
    """As the source gave it, trimmed and in lower case: 40 hex digits unless there is a body."""
    zkb: msgspec.Raw = NO_JSON
    """zKillboard's block, as it came; empty when there is none."""
    body: msgspec.Raw = NO_JSON
    """ESI's body, as it came; empty when it is still to be fetched."""
    v: int = 1


class Location(NamedTuple):
    """Where something came from, as far as it says so."""

    source: str | None
    position: int | None
    killmail_id: int | None


class _Loose(msgspec.Struct, frozen=True, gc=False):
    source: msgspec.Raw = NO_JSON
    position: msgspec.Raw = NO_JSON
    killmail_id: msgspec.Raw = NO_JSON


_decoder: Final = msgspec.json.Decoder(Reference)
_encoder: Final = msgspec.json.Encoder()
_loose: Final = msgspec.json.Decoder(_Loose)
_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_HASH: Final = re.compile(r"[0-9a-f]{40}\Z")
_HEAD_BYTES: Final = 1000
"""A reference says at its beginning where it came from."""


def clean_hash(text: str) -> str:
    """Trim a hash as upstreams write it, in lower case; no longer than a reference may hold."""
    return text.strip().lower()[:MAX_HASH_CHARS]


def is_hash(text: str) -> bool:
    """Tell whether ESI could know a killmail by this hash."""
    return _HASH.match(text) is not None


def encode_reference(reference: Reference) -> bytes:
    """Write a reference as the JSON of its topic; `v` is always there."""
    # Only NO_JSON itself is left out; any other empty Raw would be a value of no characters.
    reference = msgspec.structs.replace(
        reference, zkb=reference.zkb or NO_JSON, body=reference.body or NO_JSON
    )
    return b'{"v":1,' + _encoder.encode(reference)[1:]


def decode_reference(value: bytes) -> Reference:
    """Read a reference; body and zkb are taken as they are.

    Raises:
        Invalid: it isn't one; says what is missing or wrong.
    """
    try:
        if not value.isascii():
            value.decode()  # the decoder doesn't look into raw slices
        reference = _decoder.decode(value)
    except _ERRORS as error:
        raise Invalid(f"not a reference: {error}") from None
    if reference.v != 1:
        raise Invalid(f"not a reference: version {reference.v} is unknown here")
    if not is_hash(reference.hash):
        reference = msgspec.structs.replace(reference, hash=clean_hash(reference.hash))
        if not (reference.body or is_hash(reference.hash)):
            raise Invalid("not a reference: no body, and no hash to fetch it by")
    return reference


def locate(value: bytes) -> Location:
    """Read where something came from, though it is no reference, is cut or broken."""
    try:
        loose = _loose.decode(value)
    except _ERRORS:
        loose = _Loose(*(_found(name, value[:_HEAD_BYTES]) for name in _Loose.__struct_fields__))
    return Location(
        _read(loose.source, Source), _read(loose.position, Int64), _read(loose.killmail_id, Id)
    )


def _found(name: str, head: bytes) -> msgspec.Raw:
    match = re.search(rb'"%b":("[^"\\]*"|-?[0-9]+)[,}]' % name.encode(), head)
    return msgspec.Raw(match[1]) if match else NO_JSON


def _read(raw: msgspec.Raw, kind: Any) -> Any:
    try:
        return msgspec.json.decode(raw, type=kind) if raw else None
    except _ERRORS:
        return None
