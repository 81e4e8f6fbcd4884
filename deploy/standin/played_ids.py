"""The ids of types and solar systems in what a stand-in plays."""

from typing import Final

import msgspec

from deploy.standin import synthetic_types
from deploy.standin.killmails import Killmails
from deploy.standin.synthetic import SyntheticKillmails

MAX_READ: Final = 100_000
"""Killmails of a file that are read."""


class _Item(msgspec.Struct, gc=False):
    item_type_id: int
    items: list["_Item"] = []


class _Attacker(msgspec.Struct, gc=False):
    ship_type_id: int | None = None
    weapon_type_id: int | None = None


class _Victim(msgspec.Struct, gc=False):
    ship_type_id: int
    items: list[_Item] = []


class _Killmail(msgspec.Struct, gc=False):
    solar_system_id: int
    victim: _Victim
    attackers: list[_Attacker]


def played_ids(killmails: Killmails) -> tuple[set[int], dict[int, str | None]]:
    """Return types, and solar systems with their bands; None where the band is unknown.

    Blocks for seconds when a large file is played.
    """
    if isinstance(killmails, SyntheticKillmails):
        return _synthetic_ids()
    types: set[int] = set()
    systems: dict[int, str | None] = {}
    decode = msgspec.json.Decoder(_Killmail).decode
    for index in range(min(len(killmails), MAX_READ)):
        killmail = decode(killmails[index].body)
        systems[killmail.solar_system_id] = None
        types.update(_types(killmail))
    return types, systems


def _types(killmail: _Killmail) -> set[int]:
    ships = [killmail.victim.ship_type_id, *(a.ship_type_id for a in killmail.attackers)]
    weapons = [attacker.weapon_type_id for attacker in killmail.attackers]
    items = [*killmail.victim.items, *(i for item in killmail.victim.items for i in item.items)]
    return {id_ for id_ in (*ships, *weapons) if id_} | {item.item_type_id for item in items}


def _synthetic_ids() -> tuple[set[int], dict[int, str | None]]:
    """Collect the ids that killmails are made up of."""
    hulls = (*synthetic_types.SHIPS, synthetic_types.DEPLOYABLES, synthetic_types.STRUCTURES)
    types = {type_id for hull in hulls for type_id in hull.ship_type_ids}
    for name in vars(synthetic_types):
        if name.endswith("_IDS"):
            types.update(getattr(synthetic_types, name))
    types.update(ship for _, _, ship in synthetic_types.NPCS if ship)
    return types, {system: band for _, band, systems in synthetic_types.BANDS for system in systems}
