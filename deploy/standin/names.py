"""Names and categories of ids: real ones from a universe folder, else made up."""

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from actors.shared.errors import Misconfigured

RANGES: Final = (
    (1, 500_000, "inventory_type"),
    (500_000, 600_000, "faction"),
    (1_000_000, 2_000_000, "corporation"),
    (3_000_000, 4_000_000, "character"),
    (10_000_000, 20_000_000, "region"),
    (20_000_000, 30_000_000, "constellation"),
    (30_000_000, 40_000_000, "solar_system"),
    (60_000_000, 64_000_000, "station"),
    (90_000_000, 98_000_000, "character"),
    (98_000_000, 99_000_000, "corporation"),
    (99_000_000, 100_000_000, "alliance"),
    (100_000_000, 10_000_000_000, "character"),
)
"""From, until, category. Source: ESI's documentation of id ranges (read 2026-11-21).

From 100,000,000 to 2,100,000,000 there are also corporations and alliances from before 2010; their
categories are derived from the dataset.
"""

_FILES: Final = ("types", "systems", "constellations", "regions", "factions", "npc_corporations")
_FIRST: Final = (
    "Aria",
    "Bran",
    "Caro",
    "Dex",
    "Elva",
    "Fenn",
    "Gira",
    "Hale",
    "Ivo",
    "Jessa",
    "Korin",
    "Lyra",
    "Mako",
    "Nadir",
)
_LAST: Final = (
    "Ardent",
    "Blackwell",
    "Crane",
    "Dusk",
    "Ember",
    "Frost",
    "Graves",
    "Holt",
    "Ironside",
    "Juno",
    "Kestrel",
)
_WHAT: Final = (
    "Arrow",
    "Bastion",
    "Comet",
    "Drifter",
    "Engine",
    "Falcon",
    "Gate",
    "Harvest",
    "Ingot",
    "Jackal",
)
_CORPORATE: Final = (
    "Industries",
    "Logistics",
    "Mining",
    "Syndicate",
    "Navy",
    "Research",
    "Holdings",
)
_ALLIED: Final = ("Coalition", "Federation", "Pact", "Dominion", "Collective", "Alliance")


class Name(NamedTuple):
    """The answer of `/universe/names` for one id."""

    name: str
    category: str


class Names:
    """Resolves ids; an id always has the same name."""

    def __init__(self, hints: Mapping[int, str], universe: Path | None = None) -> None:
        self._hints = hints
        self._real = read_names(universe) if universe else {}

    def find(self, entity_id: int) -> Name | None:
        """Resolve an id; None when it is outside of EVE's ranges."""
        category = self._hints.get(entity_id) or category_of(entity_id)
        if category is None:
            return None
        real = self._real.get(entity_id)
        return Name(real or make_name(entity_id, category), category)


def category_of(entity_id: int) -> str | None:
    """Return the category of an id by its range; None outside of all ranges."""
    return next((what for low, high, what in RANGES if low <= entity_id < high), None)


def make_name(entity_id: int, category: str) -> str:
    """Make up the name of an id; names are unique within a category."""
    first = _FIRST[entity_id % len(_FIRST)]
    last = _LAST[entity_id // 7 % len(_LAST)]
    what = _WHAT[entity_id // 3 % len(_WHAT)]
    tail = f"{entity_id:X}"
    if category == "character":
        return f"{first} {last} {tail}"
    if category == "corporation":
        return f"{what} {_CORPORATE[entity_id % len(_CORPORATE)]} {tail}"
    if category == "alliance":
        return f"{last} {what} {_ALLIED[entity_id % len(_ALLIED)]} {tail}"
    if category == "solar_system":
        return f"J{entity_id % 1_000_000:06}" if entity_id >= 31_000_000 else f"{first[:3]}-{tail}"
    return f"{what} {category.replace('_', ' ')} {entity_id}"


def read_names(universe: Path) -> dict[int, str]:
    """Read the names of a universe folder.

    Shape: `types.json.gz`, `systems.json.gz` and so on, each {"columns": [...], "rows": [[...]]}
    with the columns id and name.

    Raises:
        Misconfigured: a file is missing or not of that shape.
    """
    names: dict[int, str] = {}
    for file in _FILES:
        for row in read_table(universe / f"{file}.json.gz"):
            if row["name"]:
                names[int(str(row["id"]))] = str(row["name"])
    return names


def read_bands(universe: Path) -> dict[int, str]:
    """Read the space of each solar system: high, low, null, wspace, abyssal, pochven."""
    rows = read_table(universe / "systems.json.gz")
    return {int(str(row["id"])): str(row["band"]) for row in rows}


def read_table(path: Path) -> list[dict[str, object]]:
    """Read one table of a universe folder as rows by column name.

    Raises:
        Misconfigured: the file is missing or isn't a table.
    """
    try:
        table = msgspec.json.decode(gzip.decompress(path.read_bytes()), type=_Table)
    except (OSError, msgspec.DecodeError) as error:
        raise Misconfigured(f"{path} isn't a table of the universe: {error}") from None
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


class _Table(msgspec.Struct):
    columns: list[str]
    rows: list[list[object]]
