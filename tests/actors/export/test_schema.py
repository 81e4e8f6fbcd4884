"""The exported columns are all that we know of a killmail."""

import io
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from actors.export.ndjson import to_line
from actors.export.parquet import ParquetWriter
from actors.export.read import Stored
from actors.export.schema import SCHEMA
from actors.shared.killmail import Attacker, Item, Killmail, Position, Victim
from actors.shared.zkb import Zkb
from tests.support.made import a_body, an_attacker

CONTAINER = {
    "item_type_id": 3_293,
    "flag": 5,
    "singleton": 0,
    "quantity_dropped": 1,
    "items": [{"item_type_id": 34, "flag": 0, "singleton": 0, "quantity_destroyed": 7}],
}


def names(struct: type[msgspec.Struct]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(struct)}


def children(type_: Any) -> set[str]:
    return {field.name for field in type_.fields}


def exported(*killmails: Stored) -> list[dict[str, Any]]:
    file = io.BytesIO()
    writer = ParquetWriter(file)
    for killmail in killmails:
        writer.add(killmail)
    writer.close()
    return pq.read_table(io.BytesIO(file.getvalue())).to_pylist()


def test_no_field_of_esi_or_zkillboard_is_left_out() -> None:
    victim: Any = SCHEMA.field("victim").type
    item: Any = victim.field("items").type.value_type
    attackers: Any = SCHEMA.field("attackers").type
    assert set(SCHEMA.names) == names(Killmail) | {"killmail_hash", "zkb", "zkb_json"}
    assert children(victim) == names(Victim)
    assert children(victim.field("position").type) == names(Position)
    assert children(item) == names(Item)
    assert children(item.field("items").type.value_type) == names(Item) - {"items"}
    assert children(attackers.value_type) == names(Attacker)
    assert children(SCHEMA.field("zkb").type) == names(Zkb)
    assert SCHEMA.field("killmail_time").type == pa.timestamp("us", "UTC")


def test_nested_items_positions_and_whole_numbers_stay() -> None:
    victim = {
        "damage_taken": -1,
        "ship_type_id": 2**63 - 1,
        "position": {"x": 1, "y": -2.5e17, "z": 0.1},
        "items": [CONTAINER],
    }
    body = a_body(victim=victim, attackers=[an_attacker(security_status=5)])
    (row,) = exported(Stored(1, "h", body, None))
    assert row["victim"]["ship_type_id"] == 2**63 - 1
    assert row["victim"]["position"] == victim["position"]
    (item,) = row["victim"]["items"]
    assert item["items"] == [CONTAINER["items"][0] | {"quantity_dropped": None}]  # type: ignore[index]
    assert row["attackers"][0]["security_status"] == 5.0
    assert (row["zkb"], row["zkb_json"]) == (None, None)


def test_zkb_fields_of_another_type_are_null_and_its_text_has_all() -> None:
    zkb = '{"totalValue":7,"points":"many","npc":1,"locationID":1e9,"labels":["a"],"new":{"x":1}}'
    huge = f'{{"points":{2**64},"solo":true}}'
    rows = exported(*(Stored(1, "h", a_body(), block) for block in (zkb, huge, "[]")))
    present = [{k: v for k, v in row["zkb"].items() if v is not None} for row in rows]
    assert present == [{"totalValue": 7.0, "labels": ["a"]}, {"solo": True}, {}]
    assert [row["zkb_json"] for row in rows] == [zkb, huge, "[]"]


def test_a_body_with_line_breaks_is_one_line() -> None:
    line = to_line(Stored(1, "h", b'{"killmail_id":\r\n 1}', '{"a":\n1}'))
    assert (
        line
        == b'{"killmail_id":1,"killmail_hash":"h","killmail":{"killmail_id":   1},"zkb":{"a": 1}}\n'
    )
