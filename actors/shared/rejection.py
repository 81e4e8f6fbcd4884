"""A rejection: something refused, whole, with the reason. The message of `killmails.rejected`.

Shape: {"v": 1, "reason": "…", "source": "r2z2:host" | null, "position": 96088891 | null,
"killmail_id": 132467594 | null, "value": "what came, as text", "truncated": false}
"""

from typing import Final

import msgspec

from actors.shared.clean import clean_text
from actors.shared.reference import Reference, locate

MAX_REASON_CHARS: Final = 1000

REJECTED_SOURCE: Final = "rejected"
"""The source of rejected records that were taken up again and have no position of their own."""


class Rejection(msgspec.Struct, frozen=True):
    """What was refused and why; source and position ack the ledger's entry."""

    reason: str
    value: str
    source: str | None = None
    position: int | None = None
    killmail_id: int | None = None
    truncated: bool = False
    """The whole was too large for its topic: the table has it."""
    v: int = 1


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
    """Write a rejection; bytes that aren't UTF-8 are escaped, so that nothing is lost.

    Where it came from is what the reference says, or what is given, or else what the value itself
    says: the ledger's entry is deleted once the rejection is recorded.
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
    """Read what `encode_rejection` wrote; msgspec's errors pass through."""
    return _decoder.decode(value)


def truncate_rejection(rejection: Rejection) -> bytes:
    """Write a rejection without its value."""
    return _encoder.encode(msgspec.structs.replace(rejection, value="", truncated=True))
