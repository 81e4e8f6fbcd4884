"""One made-up message of each kind, as the pipeline encodes it."""

from datetime import date
from typing import Any, Final

import msgspec

from actors.shared.feed import Entry, ImportedDay, encode_entry
from actors.shared.killmail import killmail_hash, parse_killmail
from actors.shared.reference import Reference, encode_reference
from actors.shared.rejection import encode_rejection

BODY: Final = msgspec.json.encode(
    {
        "attackers": [
            {
                "character_id": 90000002,
                "corporation_id": 98000002,
                "damage_done": 4065,
                "final_blow": True,
                "security_status": -5.1,
                "ship_type_id": 11393,
                "weapon_type_id": 3033,
            }
        ],
        "killmail_id": 100000001,
        "killmail_time": "2026-01-07T13:37:34Z",
        "solar_system_id": 30004371,
        "victim": {
            "alliance_id": 99000001,
            "character_id": 90000001,
            "corporation_id": 98000001,
            "damage_taken": 4065,
            "items": [{"flag": 27, "item_type_id": 2410, "quantity_destroyed": 1, "singleton": 0}],
            "position": {"x": -647237331997.6, "y": 65640448314.7, "z": 555639408577.9},
            "ship_type_id": 587,
        },
    }
)
HASH: Final = killmail_hash(parse_killmail(BODY))
ZKB: Final = msgspec.json.encode(
    {
        "locationID": 40276843,
        "hash": HASH,
        "fittedValue": 549000.25,
        "droppedValue": 0,
        "destroyedValue": 567000.5,
        "totalValue": 567000.5,
        "points": 1,
        "npc": False,
        "solo": True,
        "awox": False,
        "labels": ["tz:eu", "cat:6", "solo", "#:1", "pvp", "loc:lowsec"],
    }
)
FEED_ID: Final = "5d0c1f6b2a9e4d7f8c3b6a5e4f2d1c0b"
SOURCE: Final = "r2z2:r2z2.zkillboard.com"


def reference() -> Any:
    """Return a reference with its body."""
    return msgspec.json.decode(encode_reference(_reference(BODY)))


def rejection() -> Any:
    """Return the rejection of a body without a victim."""
    value = encode_reference(_reference(b'{"killmail_id":100000001}'))
    reason = "not a killmail: Object missing required field `killmail_time`"
    return msgspec.json.decode(encode_rejection(reason, value))


def entry() -> Any:
    """Return the entry of a new killmail."""
    made = Entry(
        sequence=17,
        kind="added",
        killmail_id=100000001,
        hash=HASH,
        stored_at=1767793100.25,
        killmail=msgspec.Raw(BODY),
        names={30004371: "Amamake", 587: "Rifter"},
        zkb=msgspec.Raw(ZKB),
        feed_id=FEED_ID,
    )
    return msgspec.json.decode(encode_entry(made))


def imported_day() -> Any:
    """Return the entry of an imported day."""
    made = ImportedDay(
        sequence=18,
        day=date(2015, 3, 1),
        source="everef",
        added=14_807,
        total=14_809,
        stored_at=1767793101.5,
        feed_id=FEED_ID,
    )
    return msgspec.json.decode(encode_entry(made))


def _reference(body: bytes) -> Reference:
    return Reference(
        source=SOURCE,
        position=96088891,
        as_of=1767793100.0,
        killmail_id=100000001,
        hash=HASH,
        zkb=msgspec.Raw(ZKB),
        body=msgspec.Raw(body),
    )
