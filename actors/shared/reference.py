"""A reference: that a killmail exists, as a source gave it. The message of `killmails.received`.

Shape: {"v": 1, "source": "r2z2:host", "position": 96088891, "as_of": 1767793100.0,
"killmail_id": 132467594, "hash": "8ef2…", "zkb": {…} | absent, "body": {ESI's body} | absent}
"""

from typing import Annotated, Any, Final

import msgspec

from actors.shared.errors import Invalid
from actors.shared.killmail import Id, Int64, KillmailHash

NO_JSON: Final = msgspec.Raw()
"""Stands for what is absent."""

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
    hash: KillmailHash
    zkb: msgspec.Raw = NO_JSON
    """zKillboard's block, as it came; empty when there is none."""
    body: msgspec.Raw = NO_JSON
    """ESI's body, as it came; empty when it is still to be fetched."""
    v: int = 1


_decoder: Final = msgspec.json.Decoder(Reference)
_zkb_decoder: Final = msgspec.json.Decoder(dict[str, Any])
_encoder: Final = msgspec.json.Encoder()


def encode_reference(reference: Reference) -> bytes:
    """Write a reference as the JSON of its topic; `v` is always there."""
    # Only NO_JSON itself is left out; any other empty Raw would be a value of no characters.
    reference = msgspec.structs.replace(
        reference, zkb=reference.zkb or NO_JSON, body=reference.body or NO_JSON
    )
    return b'{"v":1,' + _encoder.encode(reference)[1:]


def decode_reference(value: bytes) -> Reference:
    """Read a reference.

    Raises:
        Invalid: it isn't one; says what is missing or wrong.
    """
    try:
        if not value.isascii():
            value.decode()  # the decoder doesn't look into raw slices
        reference = _decoder.decode(value)
        _check_zkb(reference.zkb)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"not a reference: {error}") from None
    if reference.v != 1:
        raise Invalid(f"not a reference: version {reference.v} is unknown here")
    return reference


def _check_zkb(zkb: msgspec.Raw) -> None:
    """Make sure that a JSONB column can hold it: it is an object, and no text in it has a NUL."""
    if zkb:
        _zkb_decoder.decode(zkb)
        if b"\\u0000" in bytes(zkb):
            raise Invalid("not a reference: a NUL in zkb")
