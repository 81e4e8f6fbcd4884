"""Kinds of terms, the keys of their rows in `postings`, and codes of values. No I/O."""

from bisect import bisect_right
from enum import IntEnum
from functools import cache
from math import inf, log10, nextafter
from typing import Final

from actors.shared.errors import Invalid

ID_BITS: Final = 37
WINDOW_BITS: Final = 21
MAX_ENTITY_ID: Final = 2**ID_BITS - 1
MAX_KILLMAIL_ID: Final = 2**31 - 1
"""Of a term with the narrowest windows."""
BLOCK_BITS: Final = 16
"""A block of killmail ids holds whole windows of each kind."""

ATTACKER_COUNTS: Final = (0, 1, 2, 5, 10, 25, 50, 100, 1000)
"""The least numbers of attackers in each bucket; zKillboard's labels have the same bounds."""

CODES_PER_DECADE: Final = 25.4
LEAST_VALUE_LOG: Final = 3
MAX_CODE: Final = 255
_MOST_VALUE: Final = 1e30


class Kind(IntEnum):
    """What a term says of a killmail. The numbers are stored and don't change."""

    VICTIM_CHARACTER = 0
    VICTIM_CORPORATION = 1
    VICTIM_ALLIANCE = 2
    VICTIM_FACTION = 3
    VICTIM_SHIP_TYPE = 4
    VICTIM_SHIP_GROUP = 5
    ATTACKER_CHARACTER = 6
    ATTACKER_CORPORATION = 7
    ATTACKER_ALLIANCE = 8
    ATTACKER_FACTION = 9
    ATTACKER_SHIP_TYPE = 10
    ATTACKER_SHIP_GROUP = 11
    ATTACKER_WEAPON_TYPE = 12
    SOLAR_SYSTEM = 13
    CONSTELLATION = 14
    REGION = 15
    SPACE_BAND = 16
    WAR = 17
    LABEL = 18
    CORPORATION_IN_SHIP = 19
    """A hash of an attacker's corporation and ship."""
    ALLIANCE_IN_SHIP = 20
    """The same of its alliance."""
    VICTIM_CATEGORY = 21
    """Ships, structures, fighters and so on."""
    FACT = 22
    """npc, solo, awox: see `actors.shared.finding.facts`."""
    ATTACKER_COUNT = 23
    """A bucket of `ATTACKER_COUNTS`, named by its least number."""


OF_UNIVERSE: Final = frozenset(
    {
        Kind.VICTIM_SHIP_GROUP,
        Kind.ATTACKER_SHIP_GROUP,
        Kind.CONSTELLATION,
        Kind.REGION,
        Kind.SPACE_BAND,
        Kind.VICTIM_CATEGORY,
        Kind.FACT,
    }
)
"""Kinds that follow from the static universe, not from the killmail alone."""

WIDTHS: Final[dict[int, int]] = {
    Kind.VICTIM_CHARACTER: 16,
    Kind.VICTIM_CORPORATION: 15,
    Kind.VICTIM_ALLIANCE: 14,
    Kind.VICTIM_FACTION: 12,
    Kind.VICTIM_SHIP_TYPE: 13,
    Kind.VICTIM_SHIP_GROUP: 11,
    Kind.ATTACKER_CHARACTER: 16,
    Kind.ATTACKER_CORPORATION: 15,
    Kind.ATTACKER_ALLIANCE: 13,
    Kind.ATTACKER_FACTION: 12,
    Kind.ATTACKER_SHIP_TYPE: 12,
    Kind.ATTACKER_SHIP_GROUP: 11,
    Kind.ATTACKER_WEAPON_TYPE: 12,
    Kind.SOLAR_SYSTEM: 16,
    Kind.CONSTELLATION: 14,
    Kind.REGION: 12,
    Kind.SPACE_BAND: 10,
    Kind.WAR: 16,
    Kind.LABEL: 10,
    Kind.CORPORATION_IN_SHIP: 16,
    Kind.ALLIANCE_IN_SHIP: 15,
    Kind.VICTIM_CATEGORY: 10,
    Kind.FACT: 10,
    Kind.ATTACKER_COUNT: 10,
}
"""Bits of killmail ids in a window, by how frequent terms of a kind are: a row over 2 kB would be
moved out of the table, and rewritten whole with each killmail."""


def term_of(kind: Kind, entity_id: int) -> int:
    """Make the number of a term.

    Raises:
        Invalid: the id is negative or has more than 37 bits.
    """
    if not 0 <= entity_id <= MAX_ENTITY_ID:
        raise Invalid(f"{kind.name.lower()}: no id of EVE's is {entity_id}")
    return kind << ID_BITS | entity_id


def pair_of(kind: int, group_id: int, ship_type_id: int) -> int:
    """Make the term of an attacker's corporation or alliance in a ship; several may share one."""
    mixed = group_id * 0x9E3779B97F4A7C15 + ship_type_id * 0xC2B2AE3D27D4EB4F
    return kind << ID_BITS | (mixed & 2**64 - 1) >> 64 - ID_BITS


def width_of(term: int) -> int:
    """Return the bits of killmail ids in a window of this term."""
    return WIDTHS[term >> ID_BITS]


def key_of(term: int, killmail_id: int) -> int:
    """Make the key of the row in which a killmail is listed for a term."""
    return term << WINDOW_BITS | killmail_id >> width_of(term)


def base_of(key: int) -> int:
    """Return the first killmail id of a row's window."""
    return (key & (1 << WINDOW_BITS) - 1) << width_of(key >> WINDOW_BITS)


def attacker_count_of(attackers: int) -> int:
    """Return the bucket of a number of attackers."""
    return ATTACKER_COUNTS[bisect_right(ATTACKER_COUNTS, attackers) - 1]


def code_of(total_value: float | None) -> int:
    """Make the code of a value: 0 for an unknown one, else 1 to 255, on a logarithmic scale."""
    if total_value is None:
        return 0
    decades = log10(min(max(total_value, 1.0), _MOST_VALUE)) - LEAST_VALUE_LOG
    return 1 + min(max(int(decades * CODES_PER_DECADE), 0), MAX_CODE - 1)


@cache
def least_value(code: int) -> float:
    """Return the least value that has a code, of 1 or more; infinity beyond the last code."""
    if code <= 1:
        return -inf
    if code > MAX_CODE:
        return inf
    value: float = 10.0 ** (LEAST_VALUE_LOG + (code - 1) / CODES_PER_DECADE)
    while code_of(value) >= code:
        value = nextafter(value, -inf)
    while code_of(value) < code:
        value = nextafter(value, inf)
    return value
