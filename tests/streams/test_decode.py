from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from actors.shared.reference import encode_reference
from streams.sources.decode import (
    Found,
    Garbage,
    Nothing,
    decode_document,
    decode_package,
    decode_sequence,
)
from tests.support.killmails import DATA

HASH = "8ef20e05bcced7e543e113b0f33438fd16d664fa"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(st.text(), json_values, max_size=4)
mangled = st.fixed_dictionaries(
    {},
    optional={
        "killmail_id": json_values,
        "hash": json_values | st.just(HASH),
        "esi": json_values,
        "zkb": json_values | st.just({"hash": HASH}),
        "uploaded_at": json_values,
        "sequence_updated": json_values,
        "package": objects,
        "killID": json_values,
        "sequence": json_values,
    },
)


def encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)


anything = (
    st.binary()
    | mangled.map(encoded)
    | st.builds(lambda value, at: encoded(value)[:at], mangled, st.integers(0, 200))
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(anything)
@example(b"")
@example(b"<!DOCTYPE html>")
@example(b"[" * 100_000)
@example(b'{"killmail_id":1,"hash":"%s","esi":{"x":"\xff"}}' % HASH.encode())
@example(b'{"killmail_id":1,"hash":"%s","uploaded_at":1e300}' % HASH.encode())
@example(b'{"package":{"killID":1,"zkb":null}}')
def test_any_bytes_give_an_outcome(value: bytes) -> None:
    assert isinstance(decode_document(value), Found | Nothing | Garbage)
    assert isinstance(decode_package(value), Found | Nothing | Garbage)
    sequence = decode_sequence(value)
    assert sequence is None or sequence >= 0


@given(objects, objects, st.integers(0, 2**63 - 1))
def test_what_came_is_kept_byte_for_byte(
    esi: dict[str, Any], zkb: dict[str, Any], killmail_id: int
) -> None:
    body, block = b" %s".strip() % encoded(esi), encoded(zkb).replace(b":", b" :  ")
    value = b'{"zkb":%s,"hash":"%s","esi" : %s , "killmail_id":%d}' % (
        block,
        HASH.encode(),
        body,
        killmail_id,
    )
    found = decode_document(value)
    assert isinstance(found, Found)
    assert (bytes(found.body), bytes(found.zkb)) == (body if esi else b"", block if zkb else b"")
    assert (found.killmail_id, found.killmail_hash) == (killmail_id, HASH)
    assert found.uploaded_at == 0.0


@pytest.mark.parametrize(
    ("value", "reason", "may_pass"),
    [
        (b"<html>wait</html>", "HTML", True),
        (b'{"killmail_id":1,"has', "no JSON", True),
        (b"[1]", "Expected `object`", False),
        (b'{"hash":"%s"}' % HASH.encode(), "killmail_id", False),
        (b'{"killmail_id":1,"hash":null}', "no hash", False),
        (b'{"killmail_id":1,"hash":"zz","esi":[]}', "no hash", False),
        (b'{"killmail_id":1,"esi":{}}', "no hash", False),
    ],
)
def test_garbage_says_why(value: bytes, reason: str, may_pass: bool) -> None:
    garbage = decode_document(value)
    assert isinstance(garbage, Garbage)
    assert reason in garbage.reason
    assert garbage.may_pass is may_pass


def test_placeholder_is_nothing() -> None:
    value = (
        b'{"killmail_id":null,"hash":null,"esi":null,'
        b'"zkb":{"href":"https://esi.evetech.net/killmails///"},"uploaded_at":1,"sequence_id":2}'
    )
    assert decode_document(value) == Nothing()


def test_document_without_body_is_to_be_fetched() -> None:
    found = decode_document(b'{"killmail_id":7,"hash":"%s","esi":null}' % HASH.encode())
    assert isinstance(found, Found)
    reference = found.reference("r2z2:host", 12)
    assert bytes(reference.body) == b""
    assert reference.as_of == 0.0


@pytest.mark.parametrize(
    "given", ["[]", "{}", "{ }", '""', "null", "false", '"no killmail"', "[1]"]
)
def test_a_body_or_block_that_is_no_object_or_empty_is_absent(given: str) -> None:
    value = f'{{"killmail_id":7,"hash":"{HASH}","esi":{given},"zkb":{given}}}'
    found = decode_document(value.encode())
    assert isinstance(found, Found)
    assert (bytes(found.body), bytes(found.zkb)) == (b"", b"")


@pytest.mark.parametrize("given", [f" {HASH.upper()}\n", HASH])
def test_a_hash_is_trimmed_and_in_lower_case(given: str) -> None:
    found = decode_document(encoded({"killmail_id": 7, "hash": given}))
    assert isinstance(found, Found)
    assert found.killmail_hash == HASH


@pytest.mark.parametrize("given", [None, "", 5, [], {}, "0" * 1_000_000], ids=lambda g: repr(g)[:9])
@pytest.mark.parametrize("field", ["hash", "uploaded_at", "sequence_updated"])
def test_fields_that_are_wrong_cost_no_complete_killmail(field: str, given: object) -> None:
    found = decode_document(encoded({"killmail_id": 7, "esi": {"a": 1}, field: given}))
    assert isinstance(found, Found)
    assert encode_reference(found.reference("r2z2:host", 12))


@pytest.mark.parametrize("zkb", ['{"totalValue":1e400}', '{"a":"\\u0000"}', '{"a":"\\ud800"}'])
def test_a_block_that_no_table_holds_costs_no_complete_killmail(zkb: str) -> None:
    value = f'{{"killmail_id":7,"esi":{{"a":1}},"zkb":{zkb}}}'
    assert isinstance(decode_document(value.encode()), Found)


def test_surrogate_pairs_are_text() -> None:
    zkb = rb'{"a":"\ud83d\ude80 \ud800"}'
    found = decode_document(b'{"killmail_id":7,"esi":{"a":1},"zkb":%s}' % zkb)
    assert isinstance(found, Found)
    assert msgspec.json.decode(found.zkb) == {"a": "\U0001f680 \ufffd"}


def test_package_with_and_without_killmail() -> None:
    zkb = b'{"hash":"%s","npc":false}' % HASH.encode()
    bare = decode_package(b'{"package":{"killID":7,"zkb":%s}}' % zkb)
    value = b'{"package":{"killID":7,"killmail":{"a": 1},"zkb":%s}}' % zkb
    full = decode_package(value, bodies=True)
    assert isinstance(bare, Found)
    assert isinstance(full, Found)
    assert (bytes(bare.body), bytes(full.body)) == (b"", b'{"a": 1}')
    assert bytes(bare.zkb) == bytes(full.zkb) == zkb
    assert decode_package(value) == bare
    assert decode_package(b'{"package":null}') == Nothing()


def test_real_document_is_understood() -> None:
    sample = DATA / "r2z2-document-sample.json"
    value = sample.read_bytes() if sample.exists() else LIKE_THE_REAL_ONE
    found = decode_document(value)
    assert isinstance(found, Found)
    assert found.killmail_id == 134398778
    assert found.uploaded_at == 1774949044
    assert msgspec.json.decode(found.body)["killmail_id"] == 134398778


LIKE_THE_REAL_ONE = (
    b'{"killmail_id":134398778,"hash":"6b9681d6860f9ac9df634659231448017c977edb",'
    b'"esi":{"killmail_id":134398778},"zkb":{},"uploaded_at":1774949044,"sequence_id":96695606}'
)
