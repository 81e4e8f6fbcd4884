"""The channels of zkillboard.com's websocket, and the messages on them. No I/O.

Source: zKillboard's `cron/9.queuePublish.php` and its wiki, "Websocket" (read 2026-11-21).
"""

import re
from collections.abc import Iterator
from typing import Any, Final
from weakref import WeakKeyDictionary

import msgspec

from actors.shared.finding.universe import Universe
from actors.shared.killmail import Attacker, Victim
from api.view import View

KILLSTREAM: Final = "killstream"
"""The channel of whole killmails; the others have summaries."""
_WITH_ID: Final = (
    "character|corporation|alliance|faction|ship|group|system|constellation|region|location"
)
_CHANNEL: Final = re.compile(
    rf"killstream|all:\*|total_value:10b\+|label:.{{1,100}}|(?:{_WITH_ID}):[1-9][0-9]{{0,18}}"
)
_INVOLVED: Final = {
    "character": "character_id",
    "corporation": "corporation_id",
    "alliance": "alliance_id",
    "faction": "faction_id",
    "ship": "ship_type_id",
}
_ALWAYS: Final = frozenset({KILLSTREAM, "all:*"})
_TEN_BILLIONS: Final = 10e9


def is_channel(name: str) -> bool:
    """Tell whether there is such a channel."""
    return _CHANNEL.fullmatch(name) is not None


def channels_of(view: View, universe: Universe) -> frozenset[str]:
    """List the channels that a killmail is on; kept for the other clients, while the view is."""
    of, channels = _kept.get(view, (None, _ALWAYS))
    if of is not universe:
        of_all = _of_places(view, universe), _of_involved(view, universe), _of_zkb(view)
        channels = _ALWAYS.union(*of_all)
        _kept[view] = universe, channels
    return channels


_kept: Final = WeakKeyDictionary[View, tuple[Universe, frozenset[str]]]()


def _of_places(view: View, universe: Universe) -> Iterator[str]:
    system_id = view.killmail.solar_system_id
    yield f"system:{system_id}"
    if location := universe.places.get(system_id):
        yield f"constellation:{location.constellation_id}"
        yield f"region:{location.region_id}"


def _of_involved(view: View, universe: Universe) -> Iterator[str]:
    involved: tuple[Victim | Attacker, ...] = (view.killmail.victim, *view.killmail.attackers)
    for name, field in _INVOLVED.items():
        yield from (f"{name}:{id_}" for id_ in {getattr(one, field) for one in involved} if id_)
    for ship_type_id in {one.ship_type_id for one in involved}:
        if ship_type_id is not None and (ship := universe.ships.get(ship_type_id)):
            yield f"group:{ship.group_id}"


def _of_zkb(view: View) -> Iterator[str]:
    zkb = _zkb(view)
    if "locationID" in zkb:
        yield f"location:{zkb['locationID']}"
    labels = zkb.get("labels")
    if isinstance(labels, list):
        yield from (f"label:{label}" for label in labels)
    value = zkb.get("totalValue")
    if isinstance(value, int | float) and value >= _TEN_BILLIONS:
        yield "total_value:10b+"


def message(view: View, channel: str, universe: Universe) -> bytes:
    """Write the message of a killmail on a channel."""
    return _whole(view) if channel == KILLSTREAM else _summary(view, channel, universe)


def _whole(view: View) -> bytes:
    """Write ESI's killmail with zKillboard's block in it."""
    id_, hash_ = view.entry.killmail_id, view.entry.hash
    zkb = _zkb(view) | {
        "hash": hash_,
        "esi": f"https://esi.evetech.net/killmails/{id_}/{hash_}/",
        "url": _url(view),
    }
    body = bytes(view.entry.killmail).rstrip()
    return b'%b,"zkb":%b}' % (body[:-1], msgspec.json.encode(zkb))


def _summary(view: View, channel: str, universe: Universe) -> bytes:
    victim = view.killmail.victim
    ship = universe.ships.get(victim.ship_type_id)
    return msgspec.json.encode(
        {
            "action": "littlekill",
            "killID": view.entry.killmail_id,
            "character_id": victim.character_id,
            "corporation_id": victim.corporation_id,
            "alliance_id": victim.alliance_id,
            "ship_type_id": victim.ship_type_id,
            "group_id": ship.group_id if ship else None,
            "url": _url(view),
            "hash": view.entry.hash,
            "channel": channel,
        }
    )


def _zkb(view: View) -> dict[str, Any]:
    return view.zkb if isinstance(view.zkb, dict) else {}


def _url(view: View) -> str:
    return f"https://zkillboard.com/kill/{view.entry.killmail_id}/"
