"""Build conditions of a filter. No I/O."""

from collections.abc import Callable, Mapping
from datetime import datetime
from math import inf, nextafter
from typing import Any, Final, NamedTuple

from actors.shared.errors import Invalid
from actors.shared.finding.facts import Fact
from actors.shared.finding.kinds import Kind, term_of
from actors.shared.finding.plan import leads_of, leaves_of
from actors.shared.finding.tree import (
    EVERYTHING,
    And,
    AttackerCount,
    Has,
    HasItem,
    Not,
    Or,
    Time,
    Tree,
    Value,
    ZkbField,
    ZkbNumber,
)
from actors.shared.finding.universe import BANDS
from api.errors import BadInput
from api.filters.bounds import Given, camel, inner_of
from api.filters.groups import Groups
from api.filters.participants import (
    PARTICIPANT,
    attacker_condition,
    one_of,
    victim_condition,
)
from api.filters.space import Space

MAX_TERMS: Final = 3_000
"""Terms by which killmails are found, in all conditions together."""
MAX_JUMPS: Final = 50
MAX_LIGHT_YEARS: Final = 100.0

_LOCATION: Final = {
    "solar_system_id": Kind.SOLAR_SYSTEM,
    "constellation_id": Kind.CONSTELLATION,
    "region_id": Kind.REGION,
}
_FACTS: Final = {"npc": Fact.NPC, "solo": Fact.SOLO, "awox": Fact.AWOX}
_BANDS: Final = {"highsec": "high", "lowsec": "low", "nullsec": "null"}
"""GraphQL has no enum value `null`."""


class Known(NamedTuple):
    """What a filter needs to be understood."""

    label_terms: Mapping[str, int]
    groups: Groups
    space: Space | None
    """None where no condition asks for it."""


class Built(NamedTuple):
    """A filter's conditions."""

    tree: Tree
    conditions: list[tuple[str, Tree]]
    """Each by itself, with its place; those of a combination before it."""


def build(given: Given, known: Known) -> Built:
    """Build the conditions; without any, all killmails meet them.

    Raises:
        BadInput: a value is out of its range, or senseless; the message has the place.
    """
    builder = _Builder(known)
    built = Built(builder.filter("filter", given), builder.conditions)
    if (size := _size_of(built.tree)) > MAX_TERMS:
        path, _ = max(built.conditions, key=lambda one: (_size_of(one[1]), -len(one[0])))
        raise BadInput(
            f"{path}: the filter stands for {size} ids, with those of groups and near systems, and"
            f" {MAX_TERMS} is the limit"
        )
    return built


def _size_of(tree: Tree) -> int:
    return sum(len(terms) for leaf in leaves_of(tree) for terms in leads_of(leaf))


class _Builder:
    def __init__(self, known: Known) -> None:
        self._known = known
        self.conditions: list[tuple[str, Tree]] = []

    def filter(self, path: str, given: Given) -> Tree:
        """Build what holds when all of a filter's conditions hold."""
        given = {name: value for name, value in given.items() if value is not None}
        parts: list[Tree] = []
        for name in ("and", "or", "not"):
            if name in given:
                parts.append(self._add(f"{path}.{name}", self._combined(path, name, given[name])))
        parts += self._participants(path, given)
        parts += self._location(f"{path}.location", given.get("location") or {})
        parts += self._of_flat_location(path, given)
        for name, build_one in _SINGLE.items():
            if name in given:
                parts.append(self._built(f"{path}.{camel(name)}", build_one, given[name]))
        parts += self._ranges(path, given)
        return _all_of(parts)

    def _built(self, path: str, build_one: "BuildOne", value: Any) -> Tree:
        try:
            return self._add(path, build_one(path, self._known, value))
        except Invalid as error:
            raise BadInput(f"{path}: {error}") from None

    def _add(self, path: str, tree: Tree) -> Tree:
        self.conditions.append((path, tree))
        return tree

    def _combined(self, path: str, name: str, value: Any) -> Tree:
        parts = [self.filter(*one) for one in inner_of(f"{path}.{name}", value)]
        if name == "not":
            if parts[0] == EVERYTHING:
                raise BadInput(f"{path}.not: has no condition, so no killmail can meet it")
            return Not(parts[0])
        return _all_of(parts) if name == "and" else Or(tuple(parts))

    def _participants(self, path: str, given: Given) -> list[Tree]:
        parts = []
        flat = {name: [given[name]] for name in PARTICIPANT if name in given}
        if flat:
            at = f"{path}.{'/'.join(map(camel, flat))}"
            parts.append(self._block(at, path, str(given.get("role") or "any"), flat))
        for name, role in _ROLES.items():
            if block := _without_nulls(given.get(name)):
                at = f"{path}.{camel(name)}"
                for field, ids in block.items():  # each by itself, to explain
                    if len(block) > 1:
                        self._block(f"{at}.{camel(field)}", at, role, {field: ids})
                parts.append(self._block(at, at, role, block))
        return parts

    def _block(self, path: str, within: str, role: str, block: Mapping[str, Any]) -> Tree:
        roles = []
        if role in ("victim", "any") and not block.keys() & {"weapon_type_id", "weapon_group_id"}:
            roles.append(victim_condition(within, block))
        if role != "victim":
            final_blow = role == "final_blow"
            roles.append(
                attacker_condition(within, block, self._known.groups, final_blow=final_blow)
            )
        return self._add(path, roles[0] if len(roles) == 1 else Or(tuple(roles)))

    def _of_flat_location(self, path: str, given: Given) -> list[Tree]:
        names = [name for name in (*_LOCATION, "space_band") if name in given]
        flat = {name: [given[name]] for name in names}
        return self._location(path, flat)

    def _location(self, path: str, given: Given) -> list[Tree]:
        parts = [
            self._built(f"{path}.{camel(name)}", _any_of(kind), given[name])
            for name, kind in _LOCATION.items()
            if given.get(name) is not None
        ]
        if bands := given.get("space_band"):
            parts.append(self._built(f"{path}.spaceBand", _bands, bands))
        low, high = given.get("min_security"), given.get("max_security")
        if self._known.space and (low is not None or high is not None):
            _check_range(path, "Security", low, high)
            systems = self._known.space.of_security(low, high)
            parts.append(self._add(f"{path}.security", self._known.space.condition(systems)))
        if self._known.space and (near := given.get("near")):
            parts.append(self._add(f"{path}.near", _near(f"{path}.near", near, self._known.space)))
        return parts

    def _ranges(self, path: str, given: Given) -> list[Tree]:
        parts: list[Tree] = []
        for name, make in _RANGES.items():
            low, high = given.get(f"min_{name}"), given.get(f"max_{name}")
            if low is not None or high is not None:
                _check_range(path, camel(f"_{name}"), low, high)
                parts.append(self._add(f"{path}.{camel(name)}", make(low, high)))
        since, before = given.get("since"), given.get("before")
        if since is not None or before is not None:
            parts.append(self._add(f"{path}.time", _time(path, since, before)))
        return parts


BuildOne = Callable[[str, Known, Any], Tree]
_ROLES: Final = {
    "victim": "victim",
    "attacker": "attacker",
    "final_blow": "final_blow",
    "anyone": "any",
}


def _all_of(parts: list[Tree]) -> Tree:
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _without_nulls(block: Given | None) -> dict[str, Any]:
    return {name: value for name, value in (block or {}).items() if value is not None}


def _any_of(kind: Kind) -> BuildOne:
    return lambda _path, _known, ids: one_of(term_of(kind, id_) for id_ in ids)


def _bands(_path: str, _known: Known, bands: list[str]) -> Tree:
    return one_of(term_of(Kind.SPACE_BAND, BANDS[_BANDS.get(band, band)]) for band in bands)


def _fact(fact: Fact) -> BuildOne:
    has = Has(term_of(Kind.FACT, fact))
    return lambda _path, _known, wanted: has if wanted else Not(has)


def _labels(_path: str, known: Known, labels: list[str]) -> Tree:
    return one_of(known.label_terms[label] for label in labels)


def _items(_path: str, _known: Known, type_ids: list[int]) -> Tree:
    return HasItem(frozenset(type_ids))


def _items_of_groups(path: str, known: Known, group_ids: list[int]) -> Tree:
    return HasItem(known.groups.types_of(path, group_ids))


_SINGLE: Final[dict[str, BuildOne]] = {
    **{name: _fact(fact) for name, fact in _FACTS.items()},
    "label": _labels,
    "war_id": _any_of(Kind.WAR),
    "item_type_id": _items,
    "item_group_id": _items_of_groups,
}


def _near(path: str, near: Given, space: Space) -> Tree:
    system_id: int = near["solar_system_id"]
    jumps, light_years = near.get("jumps"), near.get("light_years")
    if not space.has(system_id):
        raise BadInput(f"{path}.solarSystemId: no solar system of CCP's static data is {system_id}")
    systems = []
    if jumps is not None:
        if not 0 <= jumps <= MAX_JUMPS:
            raise BadInput(f"{path}.jumps: must be 0 to {MAX_JUMPS}, not {jumps}")
        systems.append(space.within_jumps(system_id, jumps))
    if light_years is not None:
        if not 0 <= light_years <= MAX_LIGHT_YEARS:
            raise BadInput(f"{path}.lightYears: must be 0 to {MAX_LIGHT_YEARS:g}")
        systems.append(space.within_light_years(system_id, light_years))
    if not systems:
        raise BadInput(f"{path}: needs `jumps` or `lightYears`")
    return space.condition(frozenset.intersection(*systems))


def _check_range(path: str, name: str, low: float | None, high: float | None) -> None:
    if low is not None and high is not None and low > high:
        raise BadInput(f"{path}: min{name} is more than max{name}")


def _attacker_count(fewest: int | None, most: int | None) -> Tree:
    return AttackerCount(max(fewest or 0, 0), None if most is None else max(most + 1, 0))


def _value(low: float | None, high: float | None) -> Tree:
    return Value(low, _beyond(high))


def _zkb_number(field: ZkbField) -> Callable[[float | None, float | None], Tree]:
    return lambda low, high: ZkbNumber(field, low, _beyond(high))


def _beyond(high: float | None) -> float | None:
    return None if high is None else nextafter(high, inf)


def _time(path: str, since: datetime | None, before: datetime | None) -> Tree:
    if since is not None and before is not None and since >= before:
        raise BadInput(f"{path}: since must be earlier than before")
    return Time(since, before)


_RANGES: Final[dict[str, Callable[[Any, Any], Tree]]] = {
    "attackers": _attacker_count,
    "total_value": _value,
    "destroyed_value": _zkb_number("destroyedValue"),
    "dropped_value": _zkb_number("droppedValue"),
    "fitted_value": _zkb_number("fittedValue"),
    "points": _zkb_number("points"),
}
