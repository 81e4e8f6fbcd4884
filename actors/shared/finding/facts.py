"""What body and static universe decide of a killmail: npc, solo, awox. No I/O.

The rules are zKillboard's, as far as its own flags show them: they agree on all 432 real killmails
that have both.
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import Final

from actors.shared.finding.universe import Ship
from actors.shared.killmail import Attacker, Killmail

LAST_NPC_CHARACTER: Final = 3_999_999
LAST_NPC_CORPORATION: Final = 1_999_999
SHIPS: Final = 6
"""The category of what is flown."""
NO_FIGHTERS: Final = frozenset({29, 31, 237})
"""Groups whose loss isn't a fight: capsules, shuttles, and the ships that everybody gets."""
NO_LOSSES: Final = frozenset({29, 237})
"""The same without shuttles."""


class Fact(IntEnum):
    """A fact. The numbers are stored and don't change."""

    NPC = 1
    """No player attacked."""
    SOLO = 2
    """One player attacked a ship alone; NPCs may have helped."""
    AWOX = 3
    """The final blow came from the victim's own player corporation."""


def facts_of(killmail: Killmail, victims: Ship) -> Iterator[Fact]:
    """Yield what is true of a killmail; `victims` is what its victim's type belongs to."""
    if not any(map(_is_player, killmail.attackers)):
        yield Fact.NPC
        return
    if _is_solo(killmail, victims):
        yield Fact.SOLO
    if victims.group_id not in NO_LOSSES and _is_awox(killmail):
        yield Fact.AWOX


def _is_player(attacker: Attacker) -> bool:
    return (attacker.character_id or 0) > LAST_NPC_CHARACTER or (
        attacker.corporation_id or 0
    ) > LAST_NPC_CORPORATION


def _is_solo(killmail: Killmail, victims: Ship) -> bool:
    if victims.category_id != SHIPS or victims.group_id in NO_FIGHTERS:
        return False
    ids = {one.character_id for one in killmail.attackers}
    return sum(id_ is not None and id_ > LAST_NPC_CHARACTER for id_ in ids) == 1


def _is_awox(killmail: Killmail) -> bool:
    corporation_id = killmail.victim.corporation_id
    if corporation_id is None or corporation_id <= LAST_NPC_CORPORATION:
        return False
    return any(
        one.final_blow and one.corporation_id == corporation_id for one in killmail.attackers
    )
