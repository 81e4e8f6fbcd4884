"""The records of the archive's files, and the rows that they become.

Unknown fields are ignored. Ids are required, as are the ids that a record belongs to; everything
else may be absent.

Source: CCP's documentation of the static data export (read 2026-11-26).
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta, field
from sqlalchemy import Table

from actors.shared.clean import clean_text
from actors.shared.tables import (
    CONSTELLATIONS,
    FACTIONS,
    NPC_CORPORATIONS,
    REGIONS,
    SOLAR_SYSTEMS,
    STARGATES,
    UNIVERSE_CATEGORIES,
    UNIVERSE_GROUPS,
    UNIVERSE_TYPES,
)
from actors.universe.band import space_band

Id = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Text = dict[str, Any] | str | None
"""A text, or one for each language."""
Row = tuple[Any, ...]

MAX_NAME: Final = 500
"""Characters of a name; the rest is cut off."""


def english(text: Text) -> str | None:
    """Return the English text, as both databases can store it; None when there is none."""
    said = text.get("en") if isinstance(text, dict) else text
    return clean_text(said[:MAX_NAME]) if isinstance(said, str) and said else None


class _Record(msgspec.Struct, gc=False):
    key: Id = field(name="_key")


class _Named(_Record, gc=False, kw_only=True):
    name: Text = None


class _Category(_Named, gc=False, kw_only=True):
    published: bool | None = None

    def row(self) -> Row:
        return self.key, english(self.name), self.published


class _Group(_Category, gc=False, kw_only=True):
    category: Id = field(name="categoryID")

    def row(self) -> Row:
        return self.key, self.category, english(self.name), self.published


class _Type(_Category, gc=False, kw_only=True):
    group: Id = field(name="groupID")

    def row(self) -> Row:
        return self.key, self.group, english(self.name), self.published


class _Region(_Named, gc=False, kw_only=True):
    def row(self) -> Row:
        return self.key, english(self.name)


class _Constellation(_Named, gc=False, kw_only=True):
    region: Id = field(name="regionID")

    def row(self) -> Row:
        return self.key, self.region, english(self.name)


class _Position(msgspec.Struct, gc=False):
    x: float
    y: float
    z: float


class _SolarSystem(_Constellation, gc=False, kw_only=True):
    constellation: Id = field(name="constellationID")
    security: float | None = field(name="securityStatus", default=None)
    position: _Position | None = None

    def row(self) -> Row:
        at, security = self.position, self.security or 0.0
        return (
            self.key,
            self.constellation,
            self.region,
            english(self.name),
            security,
            space_band(self.region, security),
            *((at.x, at.y, at.z) if at else (None, None, None)),
        )


class _Destination(msgspec.Struct, gc=False):
    stargate: Id = field(name="stargateID")
    system: Id = field(name="solarSystemID")


class _Stargate(_Record, gc=False, kw_only=True):
    system: Id = field(name="solarSystemID")
    destination: _Destination

    def row(self) -> Row:
        return self.key, self.system, self.destination.stargate, self.destination.system


class _NpcCorporation(_Named, gc=False, kw_only=True):
    ticker: str | None = field(name="tickerName", default=None)
    faction: Id | None = field(name="factionID", default=None)

    def row(self) -> Row:
        return self.key, self.faction, english(self.name), english(self.ticker)


class File(NamedTuple):
    """A file of the archive, and the table that its records go to."""

    name: str
    table: Table
    decode: Callable[[bytes], Any]
    """Makes a record of one line; its `row()` has the table's columns in their order."""


def _file(name: str, table: Table, record: type[_Record]) -> File:
    return File(f"{name}.jsonl", table, msgspec.json.Decoder(record).decode)


FILES: Final = (
    _file("categories", UNIVERSE_CATEGORIES, _Category),
    _file("groups", UNIVERSE_GROUPS, _Group),
    _file("types", UNIVERSE_TYPES, _Type),
    _file("mapRegions", REGIONS, _Region),
    _file("mapConstellations", CONSTELLATIONS, _Constellation),
    _file("mapSolarSystems", SOLAR_SYSTEMS, _SolarSystem),
    _file("mapStargates", STARGATES, _Stargate),
    _file("factions", FACTIONS, _Region),
    _file("npcCorporations", NPC_CORPORATIONS, _NpcCorporation),
)
"""What is read of the archive, in this order."""


class Build(msgspec.Struct):
    """A record of the file that describes the archive."""

    key: str = field(name="_key")
    build_number: Annotated[int, Meta(ge=0, le=2**62)] = field(name="buildNumber")


BUILD_FILE: Final = "_sde.jsonl"
BUILD_KEY: Final = "sde"
