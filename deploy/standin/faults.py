"""The switches: each way in which the upstreams are known to misbehave."""

from typing import Annotated, Any

import msgspec

from actors.shared.errors import Misconfigured

Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=600_000)]
ErrorStatus = Annotated[int, msgspec.Meta(ge=400, le=599)]

MAX_SKIPPED = 0.9
"""Most sequence numbers that may hold no new killmail; beyond it a dataset would hardly get on."""


class Faults(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the stand-in behaves now. The defaults are a good day on which limits hold.

    A change of `hole_rate`, `null_rate`, `duplicate_rate`, `shuffle` or `rewrite_rate` applies to
    the sequence numbers that nobody has asked for yet. Whatever they say, each killmail of the
    dataset is played at some number: nothing is ever lost by the stand-in.
    """

    limits: bool = True
    """Hold the rate limits of all three upstreams."""

    r2z2_from_start: bool = True
    """Let `sequence.json` name the first number until that one is asked for, so that a reader
    without a cursor gets the whole dataset. The real one always points near the tip."""
    r2z2_latency_ms: Milliseconds = 0
    """Hold back each R2Z2 answer."""
    r2z2_status: ErrorStatus | None = None
    """Answer everything on R2Z2 with this status (403, 429, 503)."""
    hole_rate: Fraction = 0.0
    """Numbers that stay 404 for ever."""
    null_rate: Fraction = 0.0
    """Numbers whose file is a placeholder with null id and hash."""
    html_rate: Fraction = 0.0
    """Numbers that answer HTML with status 200 the first time."""
    duplicate_rate: Fraction = 0.0
    """Numbers that repeat a killmail of the 200 numbers before."""
    rewrite_rate: Fraction = 0.0
    """Files that carry `sequence_updated`: an older file, rewritten from then on."""
    shuffle: Count = 0
    """Draw each killmail from the next N of the dataset instead of in order."""

    redisq_from_start: bool = True
    """Give a new queue the whole dataset. The real one gives only what comes after."""
    redisq_embedded: bool = False
    """Embed the killmail in the package, as RedisQ did until 2025-12-01."""
    redisq_delay: bool = False
    """Wait 0.5 to 1.5 s before each package (3 s before the sunset's 403), as the real one."""
    redisq_status: ErrorStatus | None = None
    """Answer everything on RedisQ with this status (503)."""
    redisq_sunset: bool = False
    """Answer each poll with the 403 of the retired service."""

    esi_latency_ms: Milliseconds = 0
    """Hold back each ESI answer."""
    esi_error_rate: Fraction = 0.0
    """ESI answers that are `esi_error_status` instead."""
    esi_fail_next: Count = 0
    """How many of the next ESI answers are `esi_error_status` for certain; counts down."""
    esi_error_status: ErrorStatus = 502
    """What a failing ESI says: 502, 503 or 504."""
    tranquility_down: bool = False
    """The game server is down: 504 from ESI, 503 from `/status`."""
    unknown_ids: tuple[int, ...] = ()
    """Ids that `/universe/names` refuses, and with each its whole batch."""


def changed(faults: Faults, changes: Any) -> Faults:
    """Return the switches with some of them set anew.

    Shape of changes: {"hole_rate": 0.05, "limits": false}; what isn't named stays as it is.

    Raises:
        Misconfigured: an unknown name, a wrong type or a value out of range; says which.
    """
    if not isinstance(changes, dict):
        raise Misconfigured("faults are a JSON object of switch names and values")
    try:
        faults = msgspec.convert(msgspec.structs.asdict(faults) | changes, Faults)
    except msgspec.ValidationError as error:
        raise Misconfigured(f"no such fault: {error}") from None
    skipped = faults.hole_rate + faults.null_rate + faults.duplicate_rate
    if skipped > MAX_SKIPPED:
        raise Misconfigured(
            f"hole_rate, null_rate and duplicate_rate together are {skipped:g}, over {MAX_SKIPPED}"
        )
    return faults
