"""zKillboard's block of a killmail: what it is expected to hold. It is passed on unchecked.

Source: zKillboard's queue processing and its R2Z2 files (read 2026-11-21).
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType, field

MAX_LABELS: Final = 100
"""Labels of a block that are read."""
MAX_LABEL_CHARS: Final = 100
"""Characters of a label that is read."""


class Zkb(Struct, frozen=True, omit_defaults=True):
    """What zKillboard adds to a killmail. Old blocks lack fields, and it may add some."""

    hash: str | UnsetType = UNSET
    """The killmail's hash, as zKillboard has it."""
    location_id: int | UnsetType = field(name="locationID", default=UNSET)
    """The nearest celestial or structure; absent without a position."""
    fitted_value: float | UnsetType = field(name="fittedValue", default=UNSET)
    """ISK of the ship and what was fitted to it."""
    dropped_value: float | UnsetType = field(name="droppedValue", default=UNSET)
    """ISK of what dropped."""
    destroyed_value: float | UnsetType = field(name="destroyedValue", default=UNSET)
    """ISK of what was destroyed, with the ship."""
    total_value: float | UnsetType = field(name="totalValue", default=UNSET)
    """ISK of what dropped and what was destroyed."""
    total_droppable_value: float | UnsetType = field(name="totalDroppableValue", default=UNSET)
    """ISK of all but the ship."""
    points: int | UnsetType = UNSET
    """zKillboard's points."""
    npc: bool | UnsetType = UNSET
    """Whether only NPCs attacked."""
    solo: bool | UnsetType = UNSET
    """Whether one player attacked alone."""
    awox: bool | UnsetType = UNSET
    """Whether the final blow came from the victim's own corporation."""
    labels: list[str] | UnsetType = UNSET
    """zKillboard's labels, as `loc:nullsec`; new ones appear."""
    attacker_count: int | UnsetType = field(name="attackerCount", default=UNSET)
    """How many attackers there were."""
    href: str | UnsetType = UNSET
    """The killmail at ESI."""


def labels_of(zkb: Mapping[str, Any] | None) -> frozenset[str]:
    """List the labels of a decoded block; what has another shape than zKillboard's is none."""
    given = zkb.get("labels") if zkb else None
    labels = given if isinstance(given, list) else []
    strings = [one for one in labels if isinstance(one, str) and len(one) <= MAX_LABEL_CHARS]
    return frozenset(strings[:MAX_LABELS])


def number_of(given: Any) -> float | None:
    """Read a number of a decoded block; None when it is none that a value or points can have."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        return None
    try:
        value = float(given)
    except OverflowError:
        return None
    return value if isfinite(value) and value >= 0 else None
