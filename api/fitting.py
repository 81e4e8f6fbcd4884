"""What was fitted to a ship, and what it carried, by the slots and bays of ESI's flags. No I/O.

Source of the flags: CCP's static data, `inventoryFlags` (read 2026-11-27).
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Final, NamedTuple

from ariadne import ObjectType, SchemaBindable
from msgspec.structs import replace

from actors.shared.killmail import Item
from api.static_data import CHARGES
from api.view import View

RACKS: Final = {
    "highSlots": range(27, 35),
    "midSlots": range(19, 27),
    "lowSlots": range(11, 19),
    "rigSlots": range(92, 100),
    "subsystemSlots": range(125, 133),
    "serviceSlots": range(164, 172),
    "fighterTubes": range(159, 164),
}
"""The flags of the slots in each rack."""
BAYS: Final = {"cargo": 5, "droneBay": 87, "fighterBay": 158, "implants": 89, "boosters": 88}
"""The flags of bays that have a field of their own."""
HOLDS: Final = {
    0: "None",
    4: "Hangar",
    5: "Cargo",
    36: "Asset safety",
    56: "Capsule",
    63: "Locked",
    64: "Unlocked",
    87: "Drone bay",
    88: "Boosters",
    89: "Implants",
    90: "Ship hangar",
    91: "Ship offline",
    122: "Secondary storage",
    133: "Fuel bay",
    134: "Ore hold",
    135: "Gas hold",
    136: "Mineral hold",
    137: "Salvage hold",
    138: "Ship hold",
    139: "Small ship hold",
    140: "Medium ship hold",
    141: "Large ship hold",
    142: "Industrial ship hold",
    143: "Ammo hold",
    144: "Structure active",
    145: "Structure inactive",
    148: "Command center hold",
    149: "Planetary commodities hold",
    151: "Material bay",
    154: "Quafe bay",
    155: "Fleet hangar",
    156: "Hidden modifiers",
    157: "Structure offline",
    158: "Fighter bay",
    172: "Structure fuel",
    173: "Deliveries",
    174: "Crate loot",
    176: "Booster hold",
    177: "Subsystem hold",
    178: "Raffles hangar",
    179: "Frigate escape bay",
    180: "Structure deed bay",
    181: "Ice hold",
    182: "Asteroid hold",
    183: "Mobile depot",
    184: "Corporation projects hangar",
} | {flag: f"Corporation hangar {flag - 114}" for flag in range(115, 122)}
"""Names of flags that aren't slots."""
_SLOTS: Final = {flag: name for name, rack in RACKS.items() for flag in rack}


class Stack(NamedTuple):
    """An item of a killmail."""

    of: Item
    view: View


class Slot(NamedTuple):
    """A slot with what was in it."""

    flag: int
    stacks: list[Stack]
    module: Stack | None
    charge: Stack | None


class Hold(NamedTuple):
    """A bay or hold with what was in it."""

    flag: int
    stacks: list[Stack]


def stacks_of(items: Iterable[Item] | None, view: View) -> list[Stack] | None:
    """Give items the killmail that they belong to."""
    return None if items is None else [Stack(item, view) for item in items]


def _slots(view: View, rack: range) -> list[Slot]:
    return [_slot(flag, stacks, view) for flag, stacks in _by_flag(view) if flag in rack]


def _slot(flag: int, stacks: list[Stack], view: View) -> Slot:
    """Pair a module with its charge.

    They are told apart by their category; while that isn't known, the charge is what is more.
    """
    parts = list(_merged(stacks))
    charges = [one for one in parts if view.static.category_of(one.of.item_type_id) == CHARGES]
    modules = [one for one in parts if one not in charges]
    if not charges and len(modules) > 1:
        modules.sort(key=lambda one: _quantity(one.of))
        charges = modules[1:]
    return Slot(flag, stacks, next(iter(modules), None), next(iter(charges), None))


def _merged(stacks: Iterable[Stack]) -> Iterator[Stack]:
    """Make one of stacks of the same type, of which one was destroyed and another one dropped."""
    by_type: dict[int, Stack] = {}
    for stack in stacks:
        known = by_type.get(stack.of.item_type_id)
        by_type[stack.of.item_type_id] = _sum(known, stack) if known else stack
    yield from by_type.values()


def _sum(one: Stack, other: Stack) -> Stack:
    return Stack(
        replace(
            one.of,
            quantity_destroyed=_add(one.of.quantity_destroyed, other.of.quantity_destroyed),
            quantity_dropped=_add(one.of.quantity_dropped, other.of.quantity_dropped),
        ),
        one.view,
    )


def _add(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other


def _quantity(item: Item) -> int:
    return (item.quantity_destroyed or 0) + (item.quantity_dropped or 0)


def _by_flag(view: View) -> Iterator[tuple[int, list[Stack]]]:
    items = sorted(view.killmail.victim.items or (), key=lambda item: item.flag)
    for flag, some in groupby(items, key=lambda item: item.flag):
        yield flag, [Stack(item, view) for item in some]


def location_of(flag: int) -> str | None:
    """Name a slot or bay; None for a flag that isn't known."""
    if flag in _SLOTS:
        return _SLOTS[flag].removesuffix("s")
    return HOLDS.get(flag)


FITTING: Final = ObjectType("Fitting")
for _name, _rack in RACKS.items():
    FITTING.set_field(_name, lambda view, _info, rack=_rack: _slots(view, rack))
for _name, _flag in BAYS.items():
    FITTING.set_field(
        _name,
        lambda view, _info, flag=_flag: [
            s for f, some in _by_flag(view) if f == flag for s in some
        ],
    )


@FITTING.field("holds")
def resolve_holds(view: View, _info: Any) -> list[Hold]:
    """Return all that isn't in a slot, by bay."""
    return [Hold(flag, stacks) for flag, stacks in _by_flag(view) if flag not in _SLOTS]


@FITTING.field("value")
def resolve_value(view: View, _info: Any) -> float | None:
    """Return zKillboard's value of the ship and what was fitted."""
    value: float | None = view.of_zkb("fittedValue")
    return value


_SLOT: Final = ObjectType("FittingSlot")
_SLOT.set_field("flag", lambda slot, _info: slot.flag)
_SLOT.set_field("number", lambda slot, _info: slot.flag - RACKS[_SLOTS[slot.flag]].start + 1)
_SLOT.set_field("module", lambda slot, _info: slot.module)
_SLOT.set_field("charge", lambda slot, _info: slot.charge)
_SLOT.set_field("items", lambda slot, _info: slot.stacks)

_HOLD: Final = ObjectType("Hold")
_HOLD.set_field("flag", lambda hold, _info: hold.flag)
_HOLD.set_field("name", lambda hold, _info: location_of(hold.flag))
_HOLD.set_field("items", lambda hold, _info: hold.stacks)

FITTING_TYPES: Final[tuple[SchemaBindable, ...]] = (FITTING, _SLOT, _HOLD)
