"""The delays of sources. The defaults are the upstreams' rules; tests shorten them.

Source: zKillboard's API reference on R2Z2, its RedisQ README (read 2026-11-21).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waits:
    """Delays in seconds."""

    not_yet_s: float = 6.0
    """After a 404, before the same number is requested again."""
    late_s: tuple[float, ...] = (10.0, 20.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 10800.0)
    """Between requests for a hole, whose file may be late; the last one repeats."""
    retry_s: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0, 60.0, 300.0)
    """Between requests for an unreadable file or an object; the last one repeats."""
    live_s: float = 86_400.0
    """Minimum lifetime of a file: an older hole is a gap."""
    object_s: float = 10_800.0
    """How long RedisQ keeps an object."""
    reset_s: float = 300.0
    """How long `sequence.json` must be low before the feed may have started anew."""
    ban_s: float = 300.0
    """After a 403 or 429 of R2Z2; requests meanwhile would prolong the ban. Doubles."""
    ban_max_s: float = 3600.0
    too_fast_s: float = 5.0
    """After a 429 of RedisQ."""
    outage_s: float = 0.5
    """After a 5xx, a timeout, a broken connection. Doubles."""
    outage_max_s: float = 60.0
    request_s: float = 30.0
    """One request, the answer's body included; a RedisQ poll may wait 10 s for a killmail."""
