"""A rejection: a refused value with the reason. The message of `killmails.rejected`.

Shape: {"v": 1, "reason": "…", "source": "r2z2:host" | null, "position": 96088891 | null,
"killmail_id": 132467594 | null, "value": "the refused value, as text", "truncated": false}
"""

from typing import Final

import msgspec

from actors.shared.clean import clean_text
from actors.shared.killmail import Id, Int64
from actors.shared.reference import Reference, Version, locate

MAX_REASON_CHARS: Final = 1000

REJECTED_SOURCE: Final = "rejected"
"""The source of retried rejected records without a position of their own."""


class Rejection(msgspec.Struct, frozen=True):
    """A refused value and the reason; source and position identify its ledger entry."""

    reason: str
    """Why the value was refused."""
    value: str
    """The refused value as text; bytes that aren't UTF-8 are escaped."""
    source: str | None = None
    """Kind and host of the source; null when unknown."""
    position: Int64 | None = None
    """Position in the source; null when unknown."""
    killmail_id: Id | None = None
    """The killmail's id; null when it couldn't be read."""
    truncated: bool = False
    """True when the rejection was too large for its topic; the table has its value."""
    v: Version = 1
    """Version of this shape."""


_decoder: Final = msgspec.json.Decoder(Rejection)
_encoder: Final = msgspec.json.Encoder()


def encode_rejection(
    reason: str,
    value: bytes,
    reference: Reference | None = None,
    *,
    source: str | None = None,
    position: int | None = None,
) -> bytes:
    """Encode a rejection; bytes that aren't UTF-8 are escaped.

    Source and position are those of the reference, or the arguments, or read from the value: the
    ledger entry there is deleted when the rejection is recorded.
    """
    killmail_id = None
    if reference:
        source, position, killmail_id = reference.source, reference.position, reference.killmail_id
    elif source is None:
        source, position, killmail_id = locate(value)
    return _encoder.encode(
        Rejection(
            reason=clean_text(reason)[:MAX_REASON_CHARS],
            value=value.decode("utf-8", "backslashreplace"),
            source=source,
            position=position,
            killmail_id=killmail_id,
        )
    )


def decode_rejection(value: bytes) -> Rejection:
    """Decode a rejection. Raises msgspec's errors."""
    return _decoder.decode(value)


def truncate_rejection(rejection: Rejection) -> bytes:
    """Encode a rejection without its value."""
    return _encoder.encode(msgspec.structs.replace(rejection, value="", truncated=True))
