"""The kinds of ids, by their ranges. No I/O.

Source: ESI's documentation of id ranges (read 2026-11-21).
"""

from bisect import bisect_right
from datetime import timedelta
from typing import Final, Literal

Kind = Literal[
    "type",
    "faction",
    "npc_corporation",
    "npc_character",
    "location",
    "station",
    "character",
    "corporation",
    "alliance",
    "player",
]

RANGES: Final[tuple[tuple[range, Kind], ...]] = (
    (range(1, 500_000), "type"),
    (range(500_000, 600_000), "faction"),
    (range(1_000_000, 2_000_000), "npc_corporation"),
    (range(3_000_000, 4_000_000), "npc_character"),
    (range(10_000_000, 40_000_000), "location"),
    (range(60_000_000, 70_000_000), "station"),
    (range(90_000_000, 98_000_000), "character"),
    (range(98_000_000, 99_000_000), "corporation"),
    (range(99_000_000, 100_000_000), "alliance"),
    (range(100_000_000, 2_100_000_000), "player"),  # any of the three, from before 2010
    (range(2_100_000_000, 10_000_000_000), "character"),
)
"""Ids that ESI can resolve: one id outside makes ESI refuse the whole request."""

_STARTS: Final = [ids.start for ids, _ in RANGES]

NEIGHBOURS: Final[dict[Kind, tuple[Kind, ...]]] = {
    "type": ("type",),
    "faction": ("type",),
    "npc_corporation": ("corporation",),
    "npc_character": ("character",),
    "location": ("type",),
    "station": ("type",),
    "character": ("character",),
    "corporation": ("corporation",),
    "alliance": ("character", "corporation"),
    "player": ("character", "corporation"),
}
"""Kinds of which ESI must resolve a known id before a refusal of this kind is accepted."""

NAMELESS_AGE: Final = timedelta(days=1)
RENAMED_AGE: Final = timedelta(days=7)
OTHER_AGE: Final = timedelta(days=90)


def kind_of(id_: int) -> Kind | None:
    """Return the kind of an id; None where ESI has no names."""
    ids, kind = RANGES[bisect_right(_STARTS, id_) - 1]
    return kind if id_ in ids else None


def max_age(id_: int, name: str | None) -> timedelta:
    """Return the age at which a name expires; names of players expire sooner."""
    if name is None:
        return NAMELESS_AGE
    return RENAMED_AGE if id_ >= 90_000_000 else OTHER_AGE
