"""Files that upstreams really gave, with what must become of them."""

from typing import Any

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.persist import read, store_all
from actors.shared.body import unpack, unpack_zkb
from actors.shared.reference import encode_reference
from actors.shared.tables import KILLMAILS, REJECTED
from streams.sources.decode import Found, decode_document, decode_package
from tests.support.killmails import ROOT
from tests.support.tables import rows


def case(name: str) -> dict[str, Any]:
    """Read the input of a case."""
    path = ROOT / "tests" / "data" / "cases" / f"{name}.json"
    given: dict[str, Any] = msgspec.json.decode(path.read_bytes())["input"]
    return given


def files_of(name: str) -> list[bytes]:
    given = case(name)
    texts = given.get("r2z2_file_texts", [])
    return [t.encode() for t in texts] or [msgspec.json.encode(f) for f in given["r2z2_files"]]


def found_in(value: bytes) -> Found:
    found = decode_document(value)
    assert isinstance(found, Found), found
    return found


@pytest.mark.parametrize(
    ("name", "hashes"),
    [
        (
            "hash-dirty",
            {
                140000001: "a77da9a54db88d3a415c98b1cac90a1478ae1474",
                140000003: "a77da9a54db88d3a415c98b1cac90a1478ae1474",
            },
        ),
        ("hash-wrong", {140000002: "cb517c6064e4e52136a609a3b073a5c7fbd6e5d4"}),
        (
            "place-stays-in-ledger",
            {
                140000001: "a77da9a54db88d3a415c98b1cac90a1478ae1474",
                140000003: "a77da9a54db88d3a415c98b1cac90a1478ae1474",
            },
        ),
    ],
)
async def test_a_complete_file_is_stored_with_the_right_hash(
    database: AsyncEngine, name: str, hashes: dict[int, str]
) -> None:
    files = files_of(name)
    references = [
        encode_reference(found_in(value).reference("r2z2:test", position))
        for position, value in enumerate(files)
    ]
    await store_all(database, *read(references))
    stored = await rows(database, KILLMAILS)
    assert {row["killmail_id"]: row["killmail_hash"] for row in stored} == hashes
    assert await rows(database, REJECTED) == []
    bodies = {row["killmail_id"]: unpack(row["body"]) for row in stored}
    for value in files:
        found = found_in(value)
        assert bodies[found.killmail_id] == bytes(found.body)
    assert all(msgspec.json.decode(unpack_zkb(row["zkb"]))["points"] == 3 for row in stored)


def test_an_empty_body_is_to_be_fetched() -> None:
    for value in files_of("esi-empty-in-file"):
        found = found_in(value)
        assert bytes(found.body) == b""
        assert found.killmail_hash == "a77da9a54db88d3a415c98b1cac90a1478ae1474"


def test_a_servers_own_body_is_not_taken_for_esis() -> None:
    (answer,) = case("evekill-redisq")["redisq_answers"]
    found = decode_package(msgspec.json.encode(answer))
    assert isinstance(found, Found)
    assert bytes(found.body) == b""
    assert found.killmail_hash == "a77da9a54db88d3a415c98b1cac90a1478ae1474"
