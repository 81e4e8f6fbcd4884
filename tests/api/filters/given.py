"""Filters that tests make, and what is needed to understand them."""

from collections import defaultdict
from typing import Any

from hypothesis import strategies as st

from actors.shared.finding.universe import NOT_LOADED, Location, Ship
from api.filters.build import Known
from api.filters.groups import groups_of
from api.filters.space import Space

UNIVERSE = NOT_LOADED._replace(
    places={id_: Location(20 + id_, 30 + id_ // 3, 1) for id_ in range(1, 7)},
    ships={type_id: Ship(100 + type_id % 3, 6) for type_id in range(1, 10)},
)
LY = 9_460_730_472_580_800.0
SPACE = Space(
    [(id_, 20 + id_, 30 + id_ // 3, 1.0 - id_ / 5, id_ * LY, 0.0, 0.0) for id_ in range(1, 7)],
    {id_: {id_ - 1, id_ + 1} & set(range(1, 7)) for id_ in range(1, 7)},
)


class Numbers(defaultdict[str, int]):
    """Numbers every label that is asked for."""

    def __missing__(self, label: str) -> int:
        return (18 << 37) + sum(map(ord, label))


KNOWN = Known(Numbers(), groups_of(UNIVERSE), SPACE)

IDS = st.lists(st.integers(1, 2**36), min_size=1, max_size=3)
GROUPS = st.lists(st.integers(100, 102), min_size=1, max_size=2)
LABELS = st.lists(st.sampled_from(["pvp", "loc:nullsec", "#:5+", "a,b", "é x"]), min_size=1)
ISK = st.floats(0, 1e13, allow_nan=False)
TIMES = st.datetimes().map(lambda time: time.isoformat() + "Z")
VICTIM: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("characterId", "corporationId", "allianceId", "factionId"), IDS),
    "shipTypeId": IDS,
    "shipGroupId": GROUPS,
    "shipCategoryId": st.just([6]),
}
ATTACKER = VICTIM | {"weaponTypeId": IDS, "weaponGroupId": GROUPS}
NEAR = st.builds(
    lambda system, far: {"solarSystemId": system} | far,
    st.integers(1, 6),
    st.sampled_from([{"jumps": 2}, {"lightYears": 1.5}, {"jumps": 1, "lightYears": 3.0}]),
)
LOCATION = {
    **dict.fromkeys(("solarSystemId", "constellationId", "regionId"), IDS),
    "spaceBand": st.lists(st.sampled_from(["highsec", "nullsec"]), min_size=1),
    "minSecurity": st.sampled_from([-1.0, 0.0]),
    "maxSecurity": st.sampled_from([0.5, 1.0]),
    "near": NEAR,
}
FLAT: dict[str, st.SearchStrategy[Any]] = {
    "role": st.sampled_from(["any", "victim", "attacker"]),
    **dict.fromkeys(("characterId", "shipTypeId", "solarSystemId"), st.integers(1, 2**36)),
    "spaceBand": st.sampled_from(["lowsec", "wormhole"]),
    **dict.fromkeys(("npc", "solo", "awox"), st.booleans()),
    "label": LABELS,
    "warId": IDS,
    "itemTypeId": IDS,
    "itemGroupId": GROUPS,
    "minAttackers": st.integers(0, 5),
    "maxAttackers": st.integers(5, 2**31 - 1),
    **dict.fromkeys(("minTotalValue", "minDestroyedValue", "maxFittedValue", "minPoints"), ISK),
    "since": TIMES,
}


def some_of(fields: dict[str, st.SearchStrategy[Any]], most: int = 4) -> st.SearchStrategy[Any]:
    """Draw objects that have some of the fields."""
    names = st.lists(st.sampled_from(sorted(fields)), min_size=1, max_size=most, unique=True)
    return names.flatmap(lambda names: st.fixed_dictionaries({n: fields[n] for n in names}))


BLOCKS = {
    "victim": some_of(VICTIM),
    **dict.fromkeys(("attacker", "finalBlow", "anyone"), some_of(ATTACKER)),
    "location": some_of(LOCATION),
}


def _combined(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=3)
    with_condition = inner.filter(lambda one: one.keys() != {"role"})
    return some_of(FLAT | BLOCKS | {"and": several, "or": several, "not": with_condition})


FILTERS = st.recursive(some_of(FLAT | BLOCKS), _combined, max_leaves=6)
"""Filters as JSON."""
