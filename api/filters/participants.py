"""Conditions on victims and attackers. No I/O."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from actors.shared.errors import Invalid
from actors.shared.finding.kinds import Kind, term_of
from actors.shared.finding.tree import And, AttackerField, Has, HasAny, OneAttacker, Tree
from api.errors import BadInput
from api.filters.bounds import camel
from api.filters.groups import Groups

PARTICIPANT: Final = (
    "character_id",
    "corporation_id",
    "alliance_id",
    "faction_id",
    "ship_type_id",
)
"""What a victim and an attacker are found by."""

_VICTIM: Final = {
    "character_id": Kind.VICTIM_CHARACTER,
    "corporation_id": Kind.VICTIM_CORPORATION,
    "alliance_id": Kind.VICTIM_ALLIANCE,
    "faction_id": Kind.VICTIM_FACTION,
    "ship_type_id": Kind.VICTIM_SHIP_TYPE,
    "ship_group_id": Kind.VICTIM_SHIP_GROUP,
    "ship_category_id": Kind.VICTIM_CATEGORY,
}
_ATTACKER: Final[dict[str, AttackerField]] = {
    "character_id": "character_id",
    "corporation_id": "corporation_id",
    "alliance_id": "alliance_id",
    "faction_id": "faction_id",
    "ship_type_id": "ship_type_id",
    "weapon_type_id": "weapon_type_id",
}


def victim_condition(path: str, block: Mapping[str, Any]) -> Tree:
    """Build the condition that the victim has one of the ids of each field.

    Raises:
        BadInput: an id is out of its range; the message has the place.
    """
    parts = []
    for name, ids in block.items():
        try:
            parts.append(one_of(term_of(_VICTIM[name], id_) for id_ in ids))
        except Invalid as error:
            raise BadInput(f"{path}.{camel(name)}: {error}") from None
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def attacker_condition(
    path: str, block: Mapping[str, Any], groups: Groups, *, final_blow: bool
) -> Tree:
    """Build the condition that one attacker has one of the ids of each field.

    Raises:
        BadInput: an id is out of its range, or a group unknown; the message has the place.
    """
    if block.keys() == {"ship_group_id"} and not final_blow:
        return one_of(_group_terms(f"{path}.shipGroupId", block["ship_group_id"]))
    fields: list[tuple[AttackerField, int | frozenset[int]]] = []
    through: list[frozenset[int]] = []
    for name, ids in block.items():
        at = f"{path}.{camel(name)}"
        if field := _ATTACKER.get(name):
            fields.append((field, _one_or_some(at, ids)))
        elif name == "weapon_group_id":
            fields.append(("weapon_type_id", groups.types_of(at, ids)))
        else:
            of_ships = ids if name == "ship_group_id" else groups.groups_of(at, ids)
            fields.append(("ship_type_id", groups.types_of(at, of_ships)))
            through.append(frozenset(_group_terms(at, of_ships)))
    return OneAttacker(tuple(fields), final_blow, tuple(through))


def one_of(terms: Iterable[int]) -> Tree:
    """Build the condition that a killmail has one of the terms."""
    some = frozenset(terms)
    return Has(*some) if len(some) == 1 else HasAny(some)


def _one_or_some(path: str, ids: list[int]) -> int | frozenset[int]:
    try:
        for id_ in ids:
            term_of(Kind.ATTACKER_CHARACTER, id_)
    except Invalid as error:
        raise BadInput(f"{path}: {str(error).split(': ')[1]}") from None
    return ids[0] if len(set(ids)) == 1 else frozenset(ids)


def _group_terms(path: str, group_ids: Collection[int]) -> list[int]:
    try:
        return [term_of(Kind.ATTACKER_SHIP_GROUP, id_) for id_ in group_ids]
    except Invalid as error:
        raise BadInput(f"{path}: {error}") from None
