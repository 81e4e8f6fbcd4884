"""A rejection: something refused, whole, with the reason. The message of `killmails.rejected`.

Shape: {"v": 1, "reason": "…", "source": "r2z2:host" | null, "position": 96088891 | null,
"killmail_id": 132467594 | null, "value": "what came, as text"}
"""

from typing import Final

import msgspec

from actors.shared.reference import Reference

REJECTED_SOURCE: Final = "rejected"
"""The source of rejected records that were taken up again and have no position of their own."""


class Rejection(msgspec.Struct, frozen=True):
    """What was refused and why; source and position settle the ledger."""

    reason: str
    value: str
    source: str | None = None
    position: int | None = None
    killmail_id: int | None = None
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

    Where it came from is the reference's place, or the given one when there is no reference.
    """
    return _encoder.encode(
        Rejection(
            reason=reason,
            value=value.decode("utf-8", "backslashreplace"),
            source=reference.source if reference else source,
            position=reference.position if reference else position,
            killmail_id=reference.killmail_id if reference else None,
        )
    )


def decode_rejection(value: bytes) -> Rejection:
    """Read what `rejection` wrote; msgspec's errors pass through."""
    return _decoder.decode(value)
