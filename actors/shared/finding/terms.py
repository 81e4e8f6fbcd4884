"""The terms of a killmail. No I/O."""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

from actors.shared.finding.facts import facts_of
from actors.shared.finding.kinds import (
    ID_BITS,
    MAX_ENTITY_ID,
    Kind,
    attacker_count_of,
    pair_of,
)
from actors.shared.finding.universe import NOT_LOADED, Universe
from actors.shared.killmail import Killmail

Get = Callable[[Any], Any]


def _with_first_terms(*of: tuple[Kind, Get]) -> list[tuple[int, Get]]:
    return [(kind << ID_BITS, get) for kind, get in of]


_OF_KILLMAIL: Final = _with_first_terms(
    (Kind.VICTIM_CHARACTER, attrgetter("victim.character_id")),
    (Kind.VICTIM_CORPORATION, attrgetter("victim.corporation_id")),
    (Kind.VICTIM_ALLIANCE, attrgetter("victim.alliance_id")),
    (Kind.VICTIM_FACTION, attrgetter("victim.faction_id")),
    (Kind.VICTIM_SHIP_TYPE, attrgetter("victim.ship_type_id")),
    (Kind.SOLAR_SYSTEM, attrgetter("solar_system_id")),
    (Kind.WAR, attrgetter("war_id")),
)
_OF_ATTACKER: Final = _with_first_terms(
    (Kind.ATTACKER_CHARACTER, attrgetter("character_id")),
    (Kind.ATTACKER_CORPORATION, attrgetter("corporation_id")),
    (Kind.ATTACKER_ALLIANCE, attrgetter("alliance_id")),
    (Kind.ATTACKER_FACTION, attrgetter("faction_id")),
    (Kind.ATTACKER_SHIP_TYPE, attrgetter("ship_type_id")),
    (Kind.ATTACKER_WEAPON_TYPE, attrgetter("weapon_type_id")),
)
_PAIRS: Final = (
    (int(Kind.CORPORATION_IN_SHIP), attrgetter("corporation_id", "ship_type_id")),
    (int(Kind.ALLIANCE_IN_SHIP), attrgetter("alliance_id", "ship_type_id")),
)
_FIRST_LABEL: Final = Kind.LABEL << ID_BITS
_pair_of: Final = lru_cache(100_000)(pair_of)


def terms_of(
    killmail: Killmail, label_ids: Iterable[int] = (), universe: Universe = NOT_LOADED
) -> set[int]:
    """List the terms of a killmail; an id that no entity of EVE's can have makes none."""
    terms = {_FIRST_LABEL | label_id for label_id in label_ids}
    for first, get in _OF_KILLMAIL:
        entity_id = get(killmail)
        if entity_id is not None and entity_id <= MAX_ENTITY_ID:
            terms.add(first | entity_id)
    for first, get in _OF_ATTACKER:
        for entity_id in set(map(get, killmail.attackers)):
            if entity_id is not None and entity_id <= MAX_ENTITY_ID:
                terms.add(first | entity_id)
    terms.add(Kind.ATTACKER_COUNT << ID_BITS | attacker_count_of(len(killmail.attackers)))
    terms.update(_pairs_of(killmail))
    terms.update(_of_universe(killmail, universe))
    return terms


def _pairs_of(killmail: Killmail) -> Iterator[int]:
    for kind, get in _PAIRS:
        for group_id, ship_type_id in set(map(get, killmail.attackers)):
            if group_id is not None and ship_type_id is not None:
                yield _pair_of(kind, group_id, ship_type_id)


def _of_universe(killmail: Killmail, universe: Universe) -> Iterator[int]:
    if place := universe.places.get(killmail.solar_system_id):
        yield Kind.CONSTELLATION << ID_BITS | place.constellation_id
        yield Kind.REGION << ID_BITS | place.region_id
        yield Kind.SPACE_BAND << ID_BITS | place.band
    if ship := universe.ships.get(killmail.victim.ship_type_id):
        yield Kind.VICTIM_SHIP_GROUP << ID_BITS | ship.group_id
        yield Kind.VICTIM_CATEGORY << ID_BITS | ship.category_id
        for fact in facts_of(killmail, ship):
            yield Kind.FACT << ID_BITS | fact
    for ship_type_id in {one.ship_type_id for one in killmail.attackers}:
        if ship_type_id is not None and (ship := universe.ships.get(ship_type_id)):
            yield Kind.ATTACKER_SHIP_GROUP << ID_BITS | ship.group_id
