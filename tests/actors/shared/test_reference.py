"""References, rejections and entries: what is written is read, and nothing else is taken."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.shared.errors import Invalid
from actors.shared.feed import Entry, encode_entry, join_entries
from actors.shared.reference import decode_reference, encode_reference, locate
from actors.shared.rejection import decode_rejection, encode_rejection
from tests.support.feed import decode_killmail
from tests.support.made import a_body, a_reference

GOOD = encode_reference(a_reference(a_body(), zkb=msgspec.Raw(b'{"points":1}')))


def changed(**fields: Any) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(GOOD) | fields)


def test_a_reference_is_read_as_it_was_written() -> None:
    body, zkb = b'{"new":\t1,' + a_body()[1:], b'{ "a": 1.50 }'
    written = encode_reference(a_reference(body, 9, zkb=msgspec.Raw(zkb)))
    read = decode_reference(written)
    assert encode_reference(read) == written
    assert (read.position, bytes(read.body), bytes(read.zkb)) == (9, body, zkb)


def test_a_reference_without_zkb_and_body_says_so_by_their_absence() -> None:
    whole = a_reference(a_body())
    bare = msgspec.structs.replace(whole, zkb=msgspec.Raw(), body=msgspec.Raw(b""))
    assert set(msgspec.json.decode(encode_reference(bare))) == {
        "v", "source", "position", "as_of", "killmail_id", "hash",
    }  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {"v": 2},
        {"source": ""},
        {"source": "a\0b"},
        {"position": 2**63},
        {"position": None},
        {"as_of": 1e15},
        {"as_of": -1.0},
        {"killmail_id": -1},
        {"killmail_id": 2**63},
        {"hash": None},
        {"hash": "0" * 101},
    ],
    ids=repr,
)
def test_what_no_table_can_hold_is_no_reference(fields: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="not a reference"):
        decode_reference(changed(**fields))


@pytest.mark.parametrize("given", ["A" * 40, " " + "a" * 40 + "\n"])
def test_a_hash_is_trimmed_and_in_lower_case(given: str) -> None:
    assert decode_reference(changed(hash=given)).hash == "a" * 40


@pytest.mark.parametrize("given", ["", "zz", "a" * 39])
def test_without_body_a_hash_is_needed(given: str) -> None:
    assert decode_reference(changed(hash=given)).hash == given
    bare = msgspec.json.decode(changed(hash=given))
    del bare["body"]
    with pytest.raises(Invalid, match="no hash to fetch it by"):
        decode_reference(msgspec.json.encode(bare))


@pytest.mark.parametrize(
    "value",
    [
        changed(v=2, position=12),
        changed(hash=None, position=12),
        changed(as_of="late", position=12),
        GOOD.replace(b'"position":0', b'"position":12')[:-40],
        GOOD.replace(b'"position":0', b'"position":12').replace(b"points", b"poi\xffnts"),
    ],
)
def test_a_rejection_knows_its_place_though_it_is_no_reference(value: bytes) -> None:
    with pytest.raises(Invalid):
        decode_reference(value)
    rejection = decode_rejection(encode_rejection("why", value))
    assert (rejection.source, rejection.position, rejection.killmail_id) == ("r2z2:test", 12, 1)


@pytest.mark.parametrize("value", [b"", b"1", b"[" * 5_000, b'{"source":1,"position":"x"}'])
def test_what_says_of_no_place_has_none(value: bytes) -> None:
    assert locate(value) == (None, None, None)


def test_a_reason_is_short_and_fits_a_column() -> None:
    rejection = decode_rejection(encode_rejection("a\0b\ud800" + "x" * 10_000, b"1"))
    assert rejection.reason.startswith("a\ufffdb\ufffdx")
    assert len(rejection.reason) == 1_000


@given(st.binary())
def test_any_bytes_give_a_reference_or_a_reason(value: bytes) -> None:
    with pytest.raises(Invalid):
        decode_reference(value)


@given(st.data())
def test_a_reference_with_any_bytes_inside_gives_a_reference_or_a_reason(
    data: st.DataObject,
) -> None:
    start = data.draw(st.integers(0, len(GOOD)))
    end = data.draw(st.integers(start, min(start + 10, len(GOOD))))
    value = GOOD[:start] + data.draw(st.binary(max_size=10)) + GOOD[end:]
    with suppress(Invalid):
        encode_reference(decode_reference(value)).decode()


def test_a_rejection_holds_all_of_what_was_refused() -> None:
    written = decode_rejection(
        encode_rejection("why", b"caf\xc3\xa9 \xff\x00", source="r2z2:x", position=4)
    )
    assert (written.reason, written.source, written.position) == ("why", "r2z2:x", 4)
    assert written.value == "café \\xff\0"


def test_a_rejection_about_a_reference_names_its_place_and_killmail() -> None:
    written = decode_rejection(encode_rejection("why", GOOD, decode_reference(GOOD)))
    assert (written.source, written.position, written.killmail_id) == ("r2z2:test", 0, 1)
    assert written.value.encode() == GOOD


def test_an_entry_without_zkb_says_so_by_its_absence() -> None:
    entry = msgspec.structs.replace(an_entry(a_body()), zkb=msgspec.Raw(b""))
    assert "zkb" not in msgspec.json.decode(encode_entry(entry))


def an_entry(body: bytes) -> Entry:
    return Entry(
        sequence=17,
        kind="added",
        killmail_id=1,
        hash="0" * 40,
        stored_at=1.25,
        killmail=msgspec.Raw(body),
        names={587: "Rifter"},
    )


def test_an_entry_has_the_documented_shape() -> None:
    body = a_body()
    assert msgspec.json.decode(encode_entry(an_entry(body))) == {
        "v": 1,
        "sequence": 17,
        "kind": "added",
        "killmail_id": 1,
        "hash": "0" * 40,
        "stored_at": 1.25,
        "names": {"587": "Rifter"},
        "killmail": msgspec.json.decode(body),
    }
    assert bytes(decode_killmail(encode_entry(an_entry(body))).killmail) == body


def test_entries_on_the_channel_are_one_a_line_however_the_body_is_written() -> None:
    body = msgspec.json.format(a_body(), indent=2).replace(b"\n", b"\r\n")
    message = join_entries(encode_entry(an_entry(body)) for _ in range(3))
    lines = message.split("\n")
    assert len(lines) == 3
    for line in lines:
        assert msgspec.json.decode(decode_killmail(line).killmail) == msgspec.json.decode(body)
