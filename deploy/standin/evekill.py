"""A killmail in the format of EVE-KILL's RedisQ server, which differs from ESI's.

Source: EVE-KILL/Thessia, server/routes/redisq/index.get.ts (read 2026-11-26).
"""

from typing import Any, Final

import msgspec

from actors.shared.killmail import Attacker, Killmail, Victim, parse_killmail

_IDS: Final = ("ship_type_id", "character_id", "corporation_id", "alliance_id", "faction_id")


def evekill_body(body: bytes) -> bytes:
    """Convert a body to that format: without items, and with 0 for each absent id and position."""
    killmail: Killmail = parse_killmail(body)
    victim = killmail.victim
    position = victim.position
    attackers = [
        _ids(attacker)
        | {
            "damage_done": attacker.damage_done,
            "final_blow": attacker.final_blow,
            "security_status": attacker.security_status,
            "weapon_type_id": attacker.weapon_type_id or 0,
        }
        for attacker in killmail.attackers
    ]
    return msgspec.json.encode(
        {
            "killmail_id": killmail.killmail_id,
            "killmail_time": f"{killmail.killmail_time:%Y-%m-%dT%H:%M:%S}.000Z",
            "solar_system_id": killmail.solar_system_id,
            "victim": _ids(victim)
            | {
                "damage_taken": victim.damage_taken,
                "position": position or {"x": 0, "y": 0, "z": 0},
            },
            "attackers": attackers,
        }
    )


def _ids(participant: Victim | Attacker) -> dict[str, Any]:
    return {name: getattr(participant, name) or 0 for name in _IDS}
