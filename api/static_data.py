"""CCP's static data as a gateway process keeps it: names, and what belongs to what."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

CHARGES: Final = 8
"""The category of ammunition, scripts and the like."""


class Type(NamedTuple):
    """A type of ships, modules and all else that there is."""

    name: str | None
    group_id: int
    published: bool | None


class Group(NamedTuple):
    """A group of types."""

    name: str | None
    category_id: int


class System(NamedTuple):
    """A solar system."""

    name: str | None
    constellation_id: int
    region_id: int
    security_status: float
    """The true one, not rounded."""
    band: str


class Constellation(NamedTuple):
    """A constellation."""

    name: str | None
    region_id: int


@dataclass(frozen=True, eq=False)
class StaticData:
    """What is loaded, by ids; never changed: another archive is another object."""

    loaded_at: datetime | None = None
    types: Mapping[int, Type] = field(default_factory=dict)
    groups: Mapping[int, Group] = field(default_factory=dict)
    categories: Mapping[int, str | None] = field(default_factory=dict)
    systems: Mapping[int, System] = field(default_factory=dict)
    constellations: Mapping[int, Constellation] = field(default_factory=dict)
    regions: Mapping[int, str | None] = field(default_factory=dict)
    factions: Mapping[int, str | None] = field(default_factory=dict)

    def type_name(self, type_id: int | None) -> str | None:
        """Return the name of a type."""
        known = self.types.get(type_id) if type_id is not None else None
        return known.name if known else None

    def category_of(self, type_id: int) -> int | None:
        """Return the category of a type."""
        known = self.types.get(type_id)
        group = self.groups.get(known.group_id) if known else None
        return group.category_id if group else None


NOT_LOADED: Final = StaticData()
