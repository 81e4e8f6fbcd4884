"""The argument `filter` of `killmails`, as conditions of the finder."""

from datetime import datetime
from math import inf, nextafter
from typing import Any, Final

from actors.shared.errors import Invalid
from actors.shared.finding.facts import Fact
from actors.shared.finding.kinds import Kind, term_of
from actors.shared.finding.tree import (
    And,
    AttackerCount,
    AttackerField,
    Has,
    Not,
    OneAttacker,
    Or,
    Time,
    Tree,
    Value,
)
from actors.shared.finding.universe import BANDS
from api.errors import BadInput
from api.filters.facts import Facts

_VICTIM: Final[dict[AttackerField, Kind]] = {
    "character_id": Kind.VICTIM_CHARACTER,
    "corporation_id": Kind.VICTIM_CORPORATION,
    "alliance_id": Kind.VICTIM_ALLIANCE,
    "faction_id": Kind.VICTIM_FACTION,
    "ship_type_id": Kind.VICTIM_SHIP_TYPE,
}
"""What a participant is found by; both roles have the same."""

_PLACE: Final = {
    "solar_system_id": Kind.SOLAR_SYSTEM,
    "constellation_id": Kind.CONSTELLATION,
    "region_id": Kind.REGION,
}
"""Where the kill was."""
_FACTS: Final = {"npc": Fact.NPC, "solo": Fact.SOLO, "awox": Fact.AWOX}
_BANDS: Final = {"highsec": "high", "lowsec": "low", "nullsec": "null"}
"""GraphQL has no enum value `null`."""


async def tree_for(facts: Facts, given: dict[str, Any]) -> Tree:
    """Build the conditions; without any, all killmails meet them.

    Raises:
        BadInput: a value is out of its range; the message names it.
        UniverseUnknown: a condition needs the static universe, and none is loaded.
        DatabaseUnavailable: what a condition needs can't be read now.
    """
    conditions: list[Tree] = []
    participant = {name: given[name] for name in _VICTIM if given.get(name) is not None}
    try:
        if participant:
            conditions.append(_participant(participant, given["role"]))
        conditions += [
            Has(term_of(kind, given[name]))
            for name, kind in _PLACE.items()
            if given.get(name) is not None
        ]
    except Invalid as error:
        raise BadInput(f"filter: {error}") from None
    if band := given.get("space_band"):
        conditions.append(Has(term_of(Kind.SPACE_BAND, BANDS[_BANDS.get(band, band)])))
    for name, fact in _FACTS.items():
        if (wanted := given.get(name)) is not None:
            has = Has(term_of(Kind.FACT, fact))
            conditions.append(has if wanted else Not(has))
    for build, *names in _RANGES:
        low, high = map(given.get, names)
        if low is not None or high is not None:
            conditions.append(build(low, high))
    return conditions[0] if len(conditions) == 1 else And(tuple(conditions))


def _participant(ids: dict[AttackerField, int], role: str) -> Tree:
    as_victim = And(tuple(Has(term_of(_VICTIM[name], id_)) for name, id_ in ids.items()))
    as_attacker = OneAttacker(tuple(ids.items()))
    as_attacker.terms()  # raises for an id that is out of range
    roles: dict[str, Tree] = {"victim": as_victim, "attacker": as_attacker}
    return roles.get(role) or Or((as_victim, as_attacker))


def _attacker_count(fewest: int | None, most: int | None) -> Tree:
    if fewest is not None and most is not None and fewest > most:
        raise BadInput("filter: minAttackers is more than maxAttackers")
    return AttackerCount(fewest or 0, None if most is None else most + 1)


def _value(low: float | None, high: float | None) -> Tree:
    if low is not None and high is not None and low > high:
        raise BadInput("filter: minTotalValue is more than maxTotalValue")
    return Value(low, None if high is None else nextafter(high, inf))


def _time(since: datetime | None, before: datetime | None) -> Tree:
    if since is not None and before is not None and since >= before:
        raise BadInput("filter: since must be earlier than before")
    return Time(since, before)


_RANGES: Final = (
    (_attacker_count, "min_attackers", "max_attackers"),
    (_value, "min_total_value", "max_total_value"),
    (_time, "since", "before"),
)
