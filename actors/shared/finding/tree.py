"""What may be asked of killmails: conditions, and their combination by AND, OR and NOT. No I/O."""

from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import Final, Literal

from actors.shared.finding.kinds import ATTACKER_COUNTS, Kind, pair_of, term_of
from actors.shared.killmail import Attacker

MAX_LEADS: Final = 300
"""Terms of a set by which killmails are still found; those of a larger one are read one by one."""

AttackerField = Literal[
    "character_id",
    "corporation_id",
    "alliance_id",
    "faction_id",
    "ship_type_id",
    "weapon_type_id",
]
_KINDS: Final[dict[AttackerField, Kind]] = {
    "character_id": Kind.ATTACKER_CHARACTER,
    "corporation_id": Kind.ATTACKER_CORPORATION,
    "alliance_id": Kind.ATTACKER_ALLIANCE,
    "faction_id": Kind.ATTACKER_FACTION,
    "ship_type_id": Kind.ATTACKER_SHIP_TYPE,
    "weapon_type_id": Kind.ATTACKER_WEAPON_TYPE,
}
_PAIRS: Final[dict[AttackerField, Kind]] = {
    "corporation_id": Kind.CORPORATION_IN_SHIP,
    "alliance_id": Kind.ALLIANCE_IN_SHIP,
}

ZkbField = Literal["points", "destroyedValue", "droppedValue", "fittedValue"]
"""A number of zKillboard's block, by its name there."""


@dataclass(frozen=True)
class Has:
    """The killmail has a term."""

    term: int


@dataclass(frozen=True)
class HasAny:
    """The killmail has one of the terms."""

    terms: frozenset[int]


@dataclass(frozen=True)
class OneAttacker:
    """One and the same attacker meets all conditions."""

    fields: tuple[tuple[AttackerField, int | frozenset[int]], ...]
    """An id, or some of which it has one."""
    final_blow: bool = False
    """Whether it has to be the one that struck last."""
    through: tuple[frozenset[int], ...] = ()
    """Sets of terms, of each of which a killmail with such an attacker has one, as it follows from
    conditions that `fields` has as ids: the groups of their types."""

    def terms(self) -> frozenset[int]:
        """List terms that a killmail with such an attacker has.

        The term of a pair stands for both: whether it is the same attacker is seen in the body.
        """
        given = {field: asked for field, asked in self.fields if isinstance(asked, int)}
        terms = {field: term_of(_KINDS[field], entity_id) for field, entity_id in given.items()}
        ship = given.get("ship_type_id")
        pairs = {
            name: pair_of(kind, given[name], ship)
            for name, kind in _PAIRS.items()
            if ship is not None and name in given
        }
        if pairs:
            del terms["ship_type_id"]
        return frozenset((terms | pairs).values())

    def leads(self) -> list[frozenset[int]]:
        """List sets of terms, of each of which a killmail with such an attacker has one."""
        some = [
            frozenset(term_of(_KINDS[field], entity_id) for entity_id in asked)
            for field, asked in self.fields
            if not isinstance(asked, int) and len(asked) <= MAX_LEADS
        ]
        return [*(frozenset({term}) for term in self.terms()), *some, *self.through]

    def is_met_by(self, attacker: Attacker) -> bool:
        """Tell whether this attacker meets all conditions."""
        return (attacker.final_blow or not self.final_blow) and all(
            entity_id == asked if isinstance(asked, int) else entity_id in asked
            for field, asked in self.fields
            for entity_id in (getattr(attacker, field),)
        )


@dataclass(frozen=True)
class InSystems:
    """The kill was in one of these solar systems."""

    system_ids: frozenset[int]
    through: frozenset[int] = frozenset()
    """Terms of which a killmail of these systems has one; none where they are too many."""


@dataclass(frozen=True)
class HasItem:
    """The victim's ship, or a container in it, held an item of one of these types."""

    type_ids: frozenset[int]


@dataclass(frozen=True)
class Value:
    """The total value is known, at least `low` and below `high`."""

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ValueUnknown:
    """The total value is unknown, and with it zKillboard's labels."""


@dataclass(frozen=True)
class ZkbNumber:
    """A number of zKillboard's block is known, at least `low` and below `high`."""

    field: ZkbField
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ZkbUnknown:
    """A number of zKillboard's block is unknown: there is no block, or it lacks the number."""

    field: ZkbField


@dataclass(frozen=True)
class AttackerCount:
    """There are `low` attackers or more, and fewer than `high`."""

    low: int = 0
    high: int | None = None

    def terms(self) -> tuple[frozenset[int], frozenset[int]]:
        """List the terms of which such a killmail has one: those that suffice, and the others."""
        suffice: set[int] = set()
        others: set[int] = set()
        for least, beyond in zip_longest(ATTACKER_COUNTS, ATTACKER_COUNTS[1:]):
            if (self.high is not None and least >= self.high) or (
                beyond is not None and beyond <= self.low
            ):
                continue
            is_inside = least >= self.low and (
                self.high is None or (beyond is not None and beyond <= self.high)
            )
            (suffice if is_inside else others).add(term_of(Kind.ATTACKER_COUNT, least))
        return frozenset(suffice), frozenset(others)


@dataclass(frozen=True)
class Time:
    """The time of the kill is `since` or later and before `until`."""

    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class And:
    """All of these hold; true without any."""

    children: tuple["Tree", ...] = ()


@dataclass(frozen=True)
class Or:
    """At least one of these holds; false without any."""

    children: tuple["Tree", ...] = ()


@dataclass(frozen=True)
class Not:
    """This doesn't hold, and it is known that it doesn't."""

    child: "Tree"


Leaf = (
    Has
    | HasAny
    | OneAttacker
    | InSystems
    | HasItem
    | AttackerCount
    | Value
    | ValueUnknown
    | ZkbNumber
    | ZkbUnknown
    | Time
)
Tree = Leaf | And | Or | Not
EVERYTHING: Final = And()
NOTHING: Final = Or()
