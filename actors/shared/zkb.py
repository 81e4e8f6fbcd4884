"""zKillboard's block of a killmail: what it is expected to hold. It is passed on unchecked.

Source: zKillboard's queue processing and its R2Z2 files (read 2026-11-21).
"""

from msgspec import UNSET, Struct, UnsetType, field


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
