"""The band of space of a solar system."""

import math
from typing import Final, Literal

Band = Literal["high", "low", "null", "wormhole", "abyssal", "pochven"]

POCHVEN: Final = 10_000_070
WORMHOLES: Final = range(11_000_000, 12_000_000)
ABYSSES: Final = range(12_000_000, 13_000_000)


def space_band(region_id: int, security_status: float) -> Band:
    """Return the band of a solar system, from its region and its true security status.

    All but wormholes and abysses is divided by the security status that the game shows: known
    space, and what belongs to none of these. That is void (regions 14,000,001 to 14,000,005,
    security -0.99: null), where new players have their first missions, and one hidden system.

    Source: CCP's documentation of security status and of id ranges (read 2026-11-26).
    """
    if region_id == POCHVEN:
        return "pochven"
    if region_id in WORMHOLES:
        return "wormhole"
    if region_id in ABYSSES:
        return "abyssal"
    shown = shown_security(security_status)
    if shown >= 0.5:
        return "high"
    return "low" if shown > 0.0 else "null"


def shown_security(security_status: float) -> float:
    """Round a security status as the game shows it: to tenths, and 0.1 for what is above 0."""
    if 0.0 < security_status < 0.05:
        return 0.1
    return math.floor(security_status * 10 + 0.5) / 10
