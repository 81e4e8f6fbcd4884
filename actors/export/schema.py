"""The Arrow types of an exported killmail, and the row of a stored one."""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import pyarrow as pa

from actors.export.read import Stored
from actors.shared.errors import DECODE_ERRORS, Invalid
from actors.shared.killmail import Attacker, Victim, parse_killmail

Fields = list[tuple[str, pa.DataType]]

INT64_MAX: Final = 2**63 - 1
_ID: Final = pa.int64()
_LABELS: Final = pa.list_(pa.string())

_contained_item: Final[Fields] = [
    ("item_type_id", _ID),
    ("flag", pa.int64()),
    ("singleton", pa.int64()),
    ("quantity_destroyed", pa.int64()),
    ("quantity_dropped", pa.int64()),
]
_item: Final[Fields] = [*_contained_item, ("items", pa.list_(pa.struct(_contained_item)))]
_victim: Final[Fields] = [
    ("character_id", _ID),
    ("corporation_id", _ID),
    ("alliance_id", _ID),
    ("faction_id", _ID),
    ("ship_type_id", _ID),
    ("damage_taken", pa.int64()),
    ("position", pa.struct([(axis, pa.float64()) for axis in "xyz"])),
    ("items", pa.list_(pa.struct(_item))),
]
_attacker: Final[Fields] = [
    ("character_id", _ID),
    ("corporation_id", _ID),
    ("alliance_id", _ID),
    ("faction_id", _ID),
    ("ship_type_id", _ID),
    ("weapon_type_id", _ID),
    ("damage_done", pa.int64()),
    ("final_blow", pa.bool_()),
    ("security_status", pa.float64()),
]
_zkb: Final[Fields] = [
    ("hash", pa.string()),
    ("locationID", _ID),
    ("fittedValue", pa.float64()),
    ("droppedValue", pa.float64()),
    ("destroyedValue", pa.float64()),
    ("totalValue", pa.float64()),
    ("totalDroppableValue", pa.float64()),
    ("points", pa.int64()),
    ("npc", pa.bool_()),
    ("solo", pa.bool_()),
    ("awox", pa.bool_()),
    ("labels", _LABELS),
    ("attackerCount", pa.int64()),
    ("href", pa.string()),
]
_killmail: Final[Fields] = [
    ("killmail_id", _ID),
    ("killmail_hash", pa.string()),
    ("killmail_time", pa.timestamp("us", "UTC")),
    ("solar_system_id", _ID),
    ("moon_id", _ID),
    ("war_id", _ID),
    ("victim", pa.struct(_victim)),
    ("attackers", pa.list_(pa.struct(_attacker))),
    ("zkb", pa.struct(_zkb)),
    ("zkb_json", pa.string()),
]
SCHEMA: Final = pa.schema(_killmail)
"""Fields have the names of ESI and zKillboard; what is absent there is null."""


class Row(msgspec.Struct, frozen=True, gc=False):
    """A row of the schema."""

    killmail_id: int
    killmail_hash: str
    killmail_time: datetime
    solar_system_id: int
    moon_id: int | None
    war_id: int | None
    victim: Victim
    attackers: tuple[Attacker, ...]
    zkb: dict[str, Any] | None
    zkb_json: str | None


def to_row(stored: Stored) -> Row:
    """Parse a stored killmail.

    Raises:
        Invalid: the stored body isn't a killmail; says which.
    """
    try:
        killmail = parse_killmail(stored.body)
    except Invalid as error:
        raise Invalid(f"killmail {stored.killmail_id}: {error}") from None
    return Row(
        killmail_id=stored.killmail_id,
        killmail_hash=stored.killmail_hash,
        killmail_time=killmail.killmail_time.astimezone(UTC),
        solar_system_id=killmail.solar_system_id,
        moon_id=killmail.moon_id,
        war_id=killmail.war_id,
        victim=killmail.victim,
        attackers=killmail.attackers,
        zkb=None if stored.zkb is None else known_fields(stored.zkb),
        zkb_json=stored.zkb,
    )


def known_fields(zkb: str) -> dict[str, Any]:
    """Choose the known fields of zKillboard's block that have the expected type."""
    try:
        block = msgspec.json.decode(zkb, type=dict[str, Any])
    except DECODE_ERRORS:
        return {}
    return {name: block[name] for name, type_ in _zkb if _fits(block.get(name), type_)}


def _fits(value: object, type_: pa.DataType) -> bool:
    if type_ == _LABELS:
        return isinstance(value, list) and all(isinstance(label, str) for label in value)
    if type_ == pa.string():
        return isinstance(value, str)
    if isinstance(value, bool) or type_ == pa.bool_():
        return isinstance(value, bool) and type_ == pa.bool_()
    if isinstance(value, float):
        return type_ == pa.float64()
    return isinstance(value, int) and -INT64_MAX <= value <= INT64_MAX
