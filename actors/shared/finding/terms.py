"""The terms of a killmail. No I/O."""

from collections.abc import Iterable, Iterator

from actors.shared.finding.kinds import ID_BITS, MAX_ENTITY_ID, Kind, pair_of
from actors.shared.killmail import Attacker, Killmail


def terms_of(killmail: Killmail, label_ids: Iterable[int] = ()) -> set[int]:
    """List the terms of a killmail; an id that no entity of EVE's can have makes none."""
    victim = killmail.victim
    pairs = [
        (Kind.VICTIM_CHARACTER, victim.character_id),
        (Kind.VICTIM_CORPORATION, victim.corporation_id),
        (Kind.VICTIM_ALLIANCE, victim.alliance_id),
        (Kind.VICTIM_FACTION, victim.faction_id),
        (Kind.VICTIM_SHIP_TYPE, victim.ship_type_id),
        (Kind.SOLAR_SYSTEM, killmail.solar_system_id),
        (Kind.WAR, killmail.war_id),
        *((Kind.LABEL, label_id) for label_id in label_ids),
    ]
    for one in killmail.attackers:
        pairs += (
            (Kind.ATTACKER_CHARACTER, one.character_id),
            (Kind.ATTACKER_CORPORATION, one.corporation_id),
            (Kind.ATTACKER_ALLIANCE, one.alliance_id),
            (Kind.ATTACKER_FACTION, one.faction_id),
            (Kind.ATTACKER_SHIP_TYPE, one.ship_type_id),
            (Kind.ATTACKER_WEAPON_TYPE, one.weapon_type_id),
        )
    terms = {
        kind << ID_BITS | entity_id
        for kind, entity_id in set(pairs)
        if entity_id is not None and entity_id <= MAX_ENTITY_ID
    }
    terms.update(_of_groups_in_ships(killmail.attackers))
    return terms


def _of_groups_in_ships(attackers: Iterable[Attacker]) -> Iterator[int]:
    ships = {(one.corporation_id, one.alliance_id, one.ship_type_id) for one in attackers}
    for corporation_id, alliance_id, ship_type_id in ships:
        if ship_type_id is None:
            continue
        if corporation_id is not None:
            yield pair_of(Kind.CORPORATION_IN_SHIP, corporation_id, ship_type_id)
        if alliance_id is not None:
            yield pair_of(Kind.ALLIANCE_IN_SHIP, alliance_id, ship_type_id)
