"""Make up zKillboard's block of a killmail: prices are made up, the rest is derived.

Source: zKillboard's queue processing, as described for its R2Z2 files (read 2026-11-21).
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final

import msgspec

from actors.shared.killmail import Item, Killmail

FITTED_FLAGS: Final = frozenset((*range(11, 35), 92, 93, 94, *range(125, 129)))
"""Flags of slots: low, mid, high, rigs, subsystems."""

_LOCATION_LABELS: Final = {
    "high": "loc:highsec",
    "low": "loc:lowsec",
    "null": "loc:nullsec",
    "wspace": "loc:w-space",
    "abyssal": "loc:abyssal",
    "pochven": "loc:pochven",
}
_TIME_ZONES: Final = ((4, "use"), (8, "usw"), (12, "au"), (16, "ru"), (24, "eu"))
_CROWDS: Final = (1000, 100, 50, 25, 10, 5, 2)
_FORTUNES: Final = (
    (1e12, "isk:1t+"),
    (1e11, "isk:100b+"),
    (1e10, "isk:10b+"),
    (5e9, "isk:5b+"),
    (1e9, "isk:1b+"),
)


def make_zkb(killmail: Killmail, killmail_hash: str, bands: Mapping[int, str]) -> bytes:
    """Make up the block of one killmail; the same killmail gets the same block.

    Args:
        killmail: the killmail.
        killmail_hash: its hash.
        bands: solar system id -> high, low, null, wspace, abyssal, pochven.
    """
    victim = killmail.victim
    hull = _price(victim.ship_type_id) * 20
    fitted = dropped = destroyed = 0.0
    for item in _flat(victim.items or ()):
        each = _price(item.item_type_id)
        dropped += each * (item.quantity_dropped or 0)
        destroyed += each * (item.quantity_destroyed or 0)
        if item.flag in FITTED_FLAGS:
            fitted += each
    players = [a for a in killmail.attackers if a.character_id and a.corporation_id]
    npc = not players
    final = next((a for a in killmail.attackers if a.final_blow), None)
    awox = bool(final and final.character_id and final.corporation_id == victim.corporation_id)
    solo = len(players) == 1 == len(killmail.attackers)
    total = hull + dropped + destroyed
    zkb: dict[str, Any] = {
        "hash": killmail_hash,
        "fittedValue": round(hull + fitted, 2),
        "droppedValue": round(dropped, 2),
        "destroyedValue": round(hull + destroyed, 2),
        "totalValue": round(total, 2),
        "totalDroppableValue": round(dropped + destroyed, 2),
        "points": 1 if npc else 1 + victim.ship_type_id % 40 // len(killmail.attackers),
        "npc": npc,
        "solo": solo,
        "awox": awox,
        "labels": _labels(killmail, total, bands, npc=npc, solo=solo, awox=awox),
        "attackerCount": len(killmail.attackers),
        "href": f"https://esi.evetech.net/killmails/{killmail.killmail_id}/{killmail_hash}/",
    }
    if victim.position:
        zkb = {"locationID": 40_000_000 + killmail.solar_system_id % 350_000} | zkb
    return msgspec.json.encode(zkb)


def with_gank_label(zkb: bytes) -> bytes:
    """Return the block with the label that zKillboard adds to ganks later."""
    block = msgspec.json.decode(zkb)
    block["labels"] = [*block.get("labels", []), "ganked"]
    return msgspec.json.encode(block)


def _flat(items: Iterable[Item]) -> Iterable[Item]:
    for item in items:
        yield item
        yield from item.items or ()


@cache
def _price(type_id: int) -> float:
    spread = (type_id * 2_654_435_761 % 2**32) / 2**32
    return round(10 ** (3 + 4 * spread), 2)


def _labels(
    killmail: Killmail,
    total: float,
    bands: Mapping[int, str],
    *,
    npc: bool,
    solo: bool,
    awox: bool,
) -> list[str]:
    hour = killmail.killmail_time.hour
    count = len(killmail.attackers)
    crowd = next((f"#:{n}+" for n in _CROWDS if count >= n), "#:1")
    place = _LOCATION_LABELS.get(bands.get(killmail.solar_system_id, "null"))
    fortune = next((label for isk, label in _FORTUNES if total >= isk), None)
    labels = [
        "tz:" + next(zone for until, zone in _TIME_ZONES if hour < until),
        "cat:65" if killmail.victim.character_id is None else "cat:6",
        crowd,
        "npc" if npc else "pvp",
        "solo" if solo else None,
        "awox" if awox else None,
        place,
        fortune,
    ]
    return [label for label in labels if label]
