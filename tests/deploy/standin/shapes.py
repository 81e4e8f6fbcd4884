"""What ESI's answers must look like: by its own document, or by our list of required fields.

The document isn't part of the project; the list holds what it says of the answers we give.
"""

import gzip
from pathlib import Path
from typing import Any

import msgspec
from jsonschema import Draft202012Validator

DOCUMENT = Path(__file__).resolve().parents[4] / "shared" / "data" / "esi-openapi.json.gz"

INTEGER = {"type": "integer"}
NUMBER = {"type": "number"}
TEXT = {"type": "string"}
QUANTITIES = "quantity_dropped quantity_destroyed"
ITEM = "item_type_id singleton flag"
ITEM_FIELDS = dict.fromkeys(f"{ITEM} {QUANTITIES}".split(), INTEGER)
IDS = "character_id corporation_id alliance_id faction_id ship_type_id"
WHO = dict.fromkeys(IDS.split(), INTEGER)
CATEGORIES = (
    "alliance character constellation corporation inventory_type region solar_system station "
    "faction"
)


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


NESTED = _list(_object(ITEM, **ITEM_FIELDS))
RECENT = _list(_object("killmail_id killmail_hash", killmail_id=INTEGER, killmail_hash=TEXT))
OURS: dict[str, dict[str, Any]] = {
    "KillmailsKillmailIdKillmailHashGet": _object(
        "killmail_id killmail_time victim attackers solar_system_id",
        killmail_id=INTEGER,
        killmail_time=TEXT,
        solar_system_id=INTEGER,
        moon_id=INTEGER,
        war_id=INTEGER,
        victim=_object(
            "damage_taken ship_type_id",
            damage_taken=INTEGER,
            position=_object("x y z", x=NUMBER, y=NUMBER, z=NUMBER),
            items=_list(_object(ITEM, items=NESTED, **ITEM_FIELDS)),
            **WHO,
        ),
        attackers=_list(
            _object(
                "security_status final_blow damage_done",
                security_status=NUMBER,
                final_blow={"type": "boolean"},
                damage_done=INTEGER,
                weapon_type_id=INTEGER,
                **WHO,
            )
        ),
    ),
    "UniverseNamesPost": _list(
        _object("id name category", id=INTEGER, name=TEXT, category={"enum": CATEGORIES.split()})
    ),
    "Status": _object("players server_version start_time", players=INTEGER, start_time=TEXT),
    "MetaStatus": _object(
        "routes", routes=_list(_object("method path status", method=TEXT, path=TEXT, status=TEXT))
    ),
    "CharactersCharacterIdKillmailsRecentGet": RECENT,
    "CorporationsCorporationIdKillmailsRecentGet": RECENT,
    "CharactersCharacterIdRolesGet": _object("", roles=_list(TEXT), roles_at_hq=_list(TEXT)),
    "CharactersDetail": _object(
        "birthday bloodline_id corporation_id gender name race_id achievement_score",
        corporation_id=INTEGER,
        alliance_id=INTEGER,
        name=TEXT,
        security_status=NUMBER,
    ),
    "CharactersAffiliationPost": _list(
        _object("character_id corporation_id", character_id=INTEGER, alliance_id=INTEGER)
    ),
    "CorporationsDetail": _object(
        "state type name ticker description home_station_id member_count tax_rates shares "
        "war_eligible friendly_fire",
        alliance_id=INTEGER,
        ceo_id=INTEGER,
        member_count=INTEGER,
        tax_rates=_object("isk loyalty_point", isk=NUMBER, loyalty_point=NUMBER),
    ),
    "AllianceDetail": _object(
        "creator_corporation_id creator_id date_founded name ticker",
        executor_corporation_id=INTEGER,
    ),
    "AlliancesGet": _list(INTEGER),
    "AlliancesAllianceIdCorporationsGet": _list(INTEGER),
    "UniverseTypesTypeIdGet": _object(
        "type_id name description published group_id", type_id=INTEGER, group_id=INTEGER
    ),
    "UniverseGroupsGroupIdGet": _object(
        "group_id name published category_id types", category_id=INTEGER, types=_list(INTEGER)
    ),
    "Error": _object("error", error=TEXT, status=INTEGER),
}


def check(payload: bytes, schema: str) -> None:
    """Check one answer against our list, and against ESI's document where it is at hand."""
    answer = msgspec.json.decode(payload)
    Draft202012Validator(OURS[schema]).validate(answer)
    if DOCUMENT.exists():
        document = msgspec.json.decode(gzip.decompress(DOCUMENT.read_bytes()))
        pointed = {"$ref": f"#/components/schemas/{schema}"}
        Draft202012Validator(pointed | {"components": document["components"]}).validate(answer)
