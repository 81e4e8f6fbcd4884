"""A reference: that a killmail exists, as a source gave it. The message of `killmails.received`.

Shape: {"v": 1, "source": "r2z2:host", "position": 96088891, "as_of": 1767793100.0,
"killmail_id": 132467594, "hash": "8ef2…", "zkb": {…} | absent, "body": {ESI's body} | absent}
"""

from typing import Final

import msgspec

from actors.shared.errors import Invalid
from actors.shared.killmail import Id, KillmailHash


class Reference(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Where it came from, which killmail, and what is known of it already."""

    source: str
    """Which feed, with its host: the name under which the position is kept."""
    position: int
    """Place in that feed; what the ledger is settled by."""
    as_of: float
    """Unix seconds of this version of the data; a later one wins."""
    killmail_id: Id
    hash: KillmailHash
    zkb: msgspec.Raw = msgspec.Raw()
    """zKillboard's block, as it came; empty when there is none."""
    body: msgspec.Raw = msgspec.Raw()
    """ESI's body, as it came; empty when it is still to be fetched."""
    v: int = 1


_decoder: Final = msgspec.json.Decoder(Reference)
_encoder: Final = msgspec.json.Encoder()


def encode_reference(reference: Reference) -> bytes:
    """Write a reference as the JSON of its topic; `v` is always there."""
    return b'{"v":1,' + _encoder.encode(reference)[1:]


def decode_reference(value: bytes) -> Reference:
    """Read a reference.

    Raises:
        Invalid: it isn't one; says what is missing or wrong.
    """
    try:
        reference = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"not a reference: {error}") from None
    if reference.v != 1:
        raise Invalid(f"not a reference: version {reference.v} is unknown here")
    return reference
