"""Killmails: whatever comes gives a killmail or a reason; the hash is EVE's."""

import csv
import gzip
import random
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actors.shared.body import pack, unpack
from actors.shared.errors import Invalid
from actors.shared.killmail import (
    MAX_BODY_BYTES,
    Killmail,
    entity_ids,
    killmail_hash,
    parse_killmail,
)
from deploy.standin.server import load_dataset
from tests.support.killmails import DATA, are_real, bodies, standin_options
from tests.support.made import a_body, a_mail, an_attacker, many_attackers

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def as_killmail_or_reason(body: bytes) -> Killmail | str:
    """Parse; anything but a killmail or Invalid fails the test."""
    try:
        killmail = parse_killmail(body)
    except Invalid as error:
        return str(error)
    killmail_hash(killmail)
    entity_ids(killmail)
    body.decode()
    return killmail


def true_hashes() -> dict[int, str]:
    """Give the hashes by killmail_id: ESI's where the real killmails stand."""
    if not are_real():
        return {p.killmail_id: p.killmail_hash for p in load_dataset(standin_options()).killmails}
    with gzip.open(DATA / "killmail-hashes.csv.gz", "rt") as file:
        return {int(row["killmail_id"]): row["hash"] for row in csv.DictReader(file)}


def test_hash_formula_gives_the_true_hash_of_every_killmail() -> None:
    hashes = true_hashes()
    wrong = {
        killmail_id
        for killmail_id, body in bodies().items()
        if killmail_hash(parse_killmail(body)) != hashes[killmail_id]
    }
    assert not wrong


def test_every_field_that_esi_gave_is_understood() -> None:
    for body in random.Random(1).sample(sorted(bodies().values()), 5_000):
        parsed = msgspec.json.decode(msgspec.json.encode(parse_killmail(body)))
        assert parsed == msgspec.json.decode(body)


@given(st.binary() | st.text().map(str.encode))
@example(b"")
@example(b"null")
@example(b"[" * 100_000)
@example(b'{"killmail_id":1}')
def test_any_bytes_give_a_killmail_or_a_reason(body: bytes) -> None:
    as_killmail_or_reason(body)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [path, *(p for key, child in inner for p in _paths(child, (*path, key)))]


def _changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = _changed(value[path[0]], path[1:], new)
    return copy


WHOLE = a_mail(
    7,
    moon_id=40_000_001,
    war_id=3,
    attackers=[an_attacker(character_id=5, weapon_type_id=6)],
    victim={
        "damage_taken": -4,
        "ship_type_id": 33_328,
        "position": {"x": 1.5, "y": -2.0, "z": 1e11},
        "items": [{"item_type_id": 1, "flag": 5, "singleton": 0, "items": []}],
    },
)


@given(st.sampled_from(_paths(WHOLE)), JSON)
def test_a_killmail_changed_in_any_place_gives_a_killmail_or_a_reason(
    path: tuple[Any, ...], new: Any
) -> None:
    try:
        body = msgspec.json.encode(_changed(WHOLE, path, new))
    except (UnicodeEncodeError, msgspec.EncodeError, OverflowError):
        return  # no JSON text says this
    as_killmail_or_reason(body)


@given(st.data())
def test_a_killmail_with_any_bytes_inside_gives_a_killmail_or_a_reason(data: st.DataObject) -> None:
    body = msgspec.json.encode(WHOLE | {"new_field": "some text"})
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, min(start + 10, len(body))))
    as_killmail_or_reason(body[:start] + data.draw(st.binary(max_size=10)) + body[end:])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"killmail_time": "2024-05-01T12:00:00"}, "timezone"),
        ({"killmail_time": "0001-01-01T00:00:00+14:00"}, "killmail_time"),
        ({"killmail_time": "9999-12-31T23:59:59-14:00"}, "killmail_time"),
        ({"killmail_id": 2**63}, "killmail_id"),
        ({"killmail_id": -1}, "killmail_id"),
        ({"killmail_id": "1"}, "killmail_id"),
        ({"attackers": [an_attacker(final_blow=1)]}, "final_blow"),
        ({"attackers": [an_attacker(damage_done=2**63)]}, "damage_done"),
        ({"victim": {"damage_taken": 1}}, "ship_type_id"),
    ],
)
def test_the_reason_names_what_is_wrong(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        parse_killmail(a_body(**changes))


def test_text_that_is_not_utf8_is_refused_even_in_unknown_fields() -> None:
    body = a_body(new_field="?").replace(b"?", b"\xff")
    with pytest.raises(Invalid, match="utf-8"):
        parse_killmail(body)


def test_fields_that_esi_adds_one_day_are_passed_over() -> None:
    body = a_body(new_field={"a": [1, None]}, attackers=[an_attacker(rank="captain")])
    assert parse_killmail(body).killmail_id == 1


def test_a_body_at_the_limit_passes_and_one_above_is_refused() -> None:
    body = a_body(padding="")
    at_limit = a_body(padding="x" * (MAX_BODY_BYTES - len(body)))
    assert parse_killmail(at_limit).killmail_id == 1
    assert unpack(pack(at_limit)) == at_limit
    with pytest.raises(Invalid, match="over the limit"):
        parse_killmail(at_limit + b" ")


def test_the_final_blow_decides_the_hash_wherever_it_stands() -> None:
    attackers = many_attackers(3)
    last_last = parse_killmail(a_body(attackers=attackers))
    last_first = parse_killmail(a_body(attackers=attackers[::-1]))
    nobody = parse_killmail(a_body(attackers=[]))
    assert killmail_hash(last_last) == killmail_hash(last_first) != killmail_hash(nobody)


def test_one_moment_in_two_time_zones_gives_one_hash() -> None:
    here = parse_killmail(a_body(killmail_time="2024-05-01T12:00:00Z"))
    there = parse_killmail(a_body(killmail_time="2024-05-01T14:00:00+02:00"))
    assert killmail_hash(here) == killmail_hash(there)


@given(st.binary(max_size=2_000))
def test_a_packed_body_unpacks_to_the_very_bytes(body: bytes) -> None:
    assert unpack(pack(body)) == body
