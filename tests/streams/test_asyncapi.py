"""The AsyncAPI document: the code's, whole, and accepted by AsyncAPI's own parser."""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.shared.feed import CHANNEL
from actors.shared.topics import TOPICS
from streams.asyncapi.__main__ import FILE
from tests.deploy.standin.shapes import DOCUMENT, OURS
from tests.support.asyncapi_parser import FOLDER, LOCK, diagnose
from tests.support.schemas import check, document

WARNING = 1
"""The parser's severities: 0 is an error, 1 a warning, 2 information."""
ESIS = "KillmailsKillmailIdKillmailHashGet"
"""The name of a killmail in ESI's document."""


@pytest.mark.timeout(900)  # a bare machine gets Node.js first
def test_the_official_parser_accepts_the_document() -> None:
    found = diagnose(FILE)
    assert found["parsed"]
    assert [one for one in found["diagnostics"] if one["severity"] <= WARNING] == []


@pytest.mark.timeout(900)
def test_the_official_parser_refuses_a_wrong_document(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(FILE.read_text().replace("partitions: 4", "partitions: four"))
    found = diagnose(file)
    wrong = {one["path"] for one in found["diagnostics"] if one["severity"] == 0}
    assert "channels.stored.bindings.kafka.partitions" in wrong


def test_the_parser_is_pinned_by_hash_and_without_an_address() -> None:
    packages = json.loads(LOCK.read_text())["packages"]
    asked = json.loads((FOLDER / "package.json").read_text())
    assert packages.pop("")["dependencies"] == asked["dependencies"]
    assert [name for name, one in packages.items() if "sha512-" not in one["integrity"]] == []
    assert [name for name, one in packages.items() if "resolved" in one] == []


def test_each_topic_and_the_channel_are_described() -> None:
    kafka = {
        one["address"]: one["bindings"]["kafka"]
        for one in document()["channels"].values()
        if one["servers"] == [{"$ref": "#/servers/kafka"}]
    }
    assert {
        address: (one["partitions"], one["topicConfiguration"]["retention.ms"])
        for address, one in kafka.items()
    } == {topic.name: (topic.partitions, topic.retention_ms) for topic in TOPICS}
    others = {one["address"] for one in document()["channels"].values()} - set(kafka)
    assert others == {CHANNEL}


def test_each_field_and_each_message_is_described() -> None:
    silent = [
        f"{name}.{field}"
        for name, schema in document()["components"]["schemas"].items()
        for field, said in ({"": schema} | schema["properties"]).items()
        if not said["description"].endswith(".")
    ]
    assert silent == []


def test_each_example_satisfies_its_schema() -> None:
    for message in document()["components"]["messages"].values():
        for example in message.get("examples", []):
            check(message["payload"]["$ref"].rpartition("/")[2], json.dumps(example["payload"]))


def test_a_killmail_has_the_fields_and_types_of_esis() -> None:
    ours = _fields_of({"$ref": "#/components/schemas/Killmail"})
    assert ours == _fields_of(OURS[ESIS])
    if DOCUMENT.exists():
        read = json.loads(gzip.decompress(DOCUMENT.read_bytes()))
        assert ours == _fields_of(read["components"]["schemas"][ESIS])


def _fields_of(schema: dict[str, Any], path: tuple[str, ...] = ()) -> Any:
    """Give an object's fields with their types, "?" when optional; a container holds no other."""
    for one in schema.get("allOf", []) + schema.get("anyOf", []):
        if one != {"type": "null"}:
            return _fields_of(one, path)
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        path = (*path, name)
        if path.count(name) > 2:
            return None
        schema = document()["components"]["schemas"][name]
    if schema["type"] == "array":
        inner = _fields_of(schema["items"], path)
        return inner and [inner]
    if schema["type"] != "object":
        return schema["type"]
    found = {name: _fields_of(one, path) for name, one in schema["properties"].items()}
    return {
        name if name in schema["required"] else f"{name}?": inner
        for name, inner in found.items()
        if inner
    }


def test_patterns_are_those_of_every_language() -> None:
    patterns = list(_values_of("pattern", document()))
    assert patterns
    assert [one for one in patterns if re.search(r"\\[AZz]|\(\?", one)] == []


def test_nothing_stands_beside_a_reference() -> None:
    schemas = document()["components"]["schemas"]
    assert [one for one in _objects(schemas) if "$ref" in one and len(one) > 1] == []


def _values_of(key: str, node: Any) -> Iterator[Any]:
    return (one[key] for one in _objects(node) if key in one)


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list):
        for one in node:
            yield from _objects(one)
