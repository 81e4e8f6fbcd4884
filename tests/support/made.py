"""Killmails and references made by hand, for what no real one shows."""

from typing import Any

import msgspec

from actors.shared.killmail import killmail_hash, parse_killmail
from actors.shared.reference import Reference

SOURCE = "r2z2:test"
LATER = 1_800_000_000.0
"""A time of a version after the usual one, in Unix seconds."""


def a_mail(killmail_id: int = 1, **changes: Any) -> dict[str, Any]:
    """Make the least that ESI gives."""
    return {
        "killmail_id": killmail_id,
        "killmail_time": "2024-05-01T12:00:00Z",
        "solar_system_id": 30_002_537,
        "victim": {"damage_taken": 100, "ship_type_id": 587, "character_id": 90_000_001},
        "attackers": [an_attacker()],
    } | changes


def an_attacker(**changes: Any) -> dict[str, Any]:
    """Make an attacker with all that ESI requires."""
    return {"damage_done": 100, "final_blow": True, "security_status": 0.5} | changes


def a_body(killmail_id: int = 1, **changes: Any) -> bytes:
    """Make ESI's body of such a killmail."""
    return msgspec.json.encode(a_mail(killmail_id, **changes))


def a_reference(body: bytes, position: int = 0, **changes: Any) -> Reference:
    """Make what a source would give for a body."""
    killmail = parse_killmail(body)
    fields: dict[str, Any] = {
        "source": SOURCE,
        "position": position,
        "as_of": 1_714_564_900.0,
        "killmail_id": killmail.killmail_id,
        "hash": killmail_hash(killmail),
        "body": msgspec.Raw(body),
    }
    return Reference(**(fields | changes))


def many_attackers(count: int) -> list[dict[str, Any]]:
    """Make attackers who differ; the last one strikes last."""
    return [
        an_attacker(
            character_id=90_000_000 + i,
            corporation_id=98_000_000 + i % 50,
            ship_type_id=587 + i % 7,
            damage_done=i,
            final_blow=i == count - 1,
            security_status=round(i % 50 / 10 - 2.5, 1),
        )
        for i in range(count)
    ]


def many_items(count: int) -> list[dict[str, Any]]:
    """Make items that differ."""
    return [
        {"item_type_id": 34 + i, "flag": 5, "singleton": 0, "quantity_dropped": i}
        for i in range(count)
    ]
