"""Every message satisfies its schema in the AsyncAPI document, and a wrong one doesn't."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.persist import read, store
from actors.shared.errors import Invalid
from actors.shared.feed import Entry, encode_entry
from actors.shared.killmail import parse_killmail
from actors.shared.reference import NO_JSON, Reference, decode_reference, encode_reference
from actors.shared.rejection import decode_rejection, encode_rejection, truncate_rejection
from deploy.standin.server import load_dataset
from tests.support.killmails import standin_options
from tests.support.made import LATER, a_mail, a_reference
from tests.support.schemas import check, document, is_valid

SOME = 400
"""Real killmails from all over theirs; validation takes a millisecond each."""

IDS = st.integers(0, 2**63 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
HASHES = st.text("0123456789abcdef", min_size=40, max_size=40)
FRACTIONS = st.floats(-1e6, 1e6).filter(lambda number: not number.is_integer())
"""Not 1.0, which is an integer for JSON Schema and none for the parser."""
JSON = st.recursive(
    st.none() | st.booleans() | INT64 | FRACTIONS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def an_object(required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Make objects with required and optional fields, and with some that nobody knows."""
    known = st.fixed_dictionaries(required, optional=optional)
    strange = st.dictionaries(TEXT.map("new_{}".format), JSON, max_size=1)
    return st.builds(lambda one, more: more | one, known, strange)


WHO = dict.fromkeys(
    ("character_id", "corporation_id", "alliance_id", "faction_id"), IDS | st.none()
)
AN_ITEM = {"item_type_id": IDS, "flag": INT64, "singleton": INT64}
QUANTITIES = {"quantity_destroyed": INT64, "quantity_dropped": INT64 | st.none()}
ITEMS = an_object(
    AN_ITEM, **QUANTITIES, items=st.lists(an_object(AN_ITEM, **QUANTITIES), max_size=2)
)
KILLMAILS = an_object(
    {
        "killmail_id": IDS,
        "killmail_time": st.datetimes().map(lambda time: f"{time:%Y-%m-%dT%H:%M:%S}Z".zfill(20)),
        "solar_system_id": IDS,
        "victim": an_object(
            {"damage_taken": INT64, "ship_type_id": IDS},
            position=an_object({"x": NUMBERS, "y": NUMBERS, "z": NUMBERS}) | st.none(),
            items=st.lists(ITEMS, max_size=2),
            **WHO,
        ),
        "attackers": st.lists(
            an_object(
                {"damage_done": INT64, "final_blow": st.booleans(), "security_status": NUMBERS},
                ship_type_id=IDS,
                weapon_type_id=IDS,
                **WHO,
            ),
            max_size=2,
        ),
    },
    moon_id=IDS | st.none(),
    war_id=IDS,
)
BLOCKS = st.dictionaries(TEXT, JSON, max_size=3) | st.fixed_dictionaries(
    {}, optional={"totalValue": JSON, "labels": JSON}
)
REFERENCES = st.builds(
    Reference,
    source=TEXT.filter(lambda text: text and "\0" not in text),
    position=INT64,
    as_of=st.floats(0, 2**35, exclude_max=True),
    killmail_id=IDS,
    hash=HASHES,
    zkb=st.just(NO_JSON) | BLOCKS.map(raw),
    body=st.just(NO_JSON) | KILLMAILS.map(raw) | BLOCKS.map(raw),
)
ENTRIES = st.builds(
    Entry,
    sequence=st.integers(1, 2**63 - 1),
    kind=st.sampled_from(["added", "updated"]),
    killmail_id=IDS,
    hash=HASHES,
    stored_at=st.floats(0, 2**35),
    killmail=KILLMAILS.map(raw),
    names=st.dictionaries(IDS, TEXT, max_size=3),
    zkb=st.just(NO_JSON) | BLOCKS.map(raw),
    origin=st.sampled_from(["live", "sync", "import"]),
    feed_id=HASHES,
)


def played() -> Iterator[Reference]:
    """Give references as the source makes them of some killmails."""
    for position, one in enumerate(load_dataset(standin_options(SOME)).killmails):
        yield a_reference(one.body, position, zkb=msgspec.Raw(one.zkb))


def broken(values: Iterable[bytes]) -> Iterator[bytes]:
    """Break references, in ways that the streams and the actors find."""
    for index, value in enumerate(values):
        field = (b'"source"', b'"position"', b'"body"', b'"victim"', b'"killmail_id"')[index % 5]
        yield value.replace(field, b'"other"')
        yield value[: index * 7]


def test_references_of_real_killmails_satisfy_their_schema() -> None:
    for reference in played():
        check("Reference", encode_reference(reference))
        check("Reference", encode_reference(msgspec.structs.replace(reference, body=NO_JSON)))


async def test_entries_of_real_killmails_satisfy_their_schema(sqlite: AsyncEngine) -> None:
    references = list(played())
    added = await store(sqlite, *read(map(encode_reference, references)))
    later = [
        encode_reference(
            msgspec.structs.replace(one, as_of=LATER, zkb=msgspec.Raw(b'{"points":"9"}'))
        )
        for one in references[:50]
    ]
    updated = await store(sqlite, *read(later))
    assert (len(added), len(updated)) == (SOME, 50)
    for one in [*added, *updated]:
        named = msgspec.structs.replace(one.entry, names={587: "Rifter"})
        check("Entry", encode_entry(named))


def test_rejections_satisfy_their_schema() -> None:
    values = [encode_reference(one) for _, one in zip(range(50), played(), strict=False)]
    _, rejections = read([*broken(values), b"\xff\x00", b"[]", b""])
    assert len(rejections) > 50
    for one in rejections:
        check("Rejection", one)
        check("Rejection", truncate_rejection(decode_rejection(one)))


@settings(deadline=None)
@given(REFERENCES)
def test_any_reference_satisfies_its_schema(reference: Reference) -> None:
    value = encode_reference(reference)
    assert is_valid("Reference", value)
    decode_reference(value)


@settings(deadline=None)
@given(ENTRIES)
def test_any_entry_satisfies_its_schema(entry: Entry) -> None:
    assert is_valid("Entry", encode_entry(entry))
    truncated = msgspec.structs.replace(entry, truncated=True, killmail=NO_JSON, names={})
    assert is_valid("Entry", encode_entry(truncated))


@settings(deadline=None)
@given(TEXT, st.binary(max_size=50) | REFERENCES.map(encode_reference))
def test_any_rejection_satisfies_its_schema(reason: str, value: bytes) -> None:
    assert is_valid("Rejection", encode_rejection(reason, value))


@settings(deadline=None)
@given(KILLMAILS, st.data())
def test_the_killmail_schema_takes_what_the_parser_takes(
    mail: dict[str, Any], data: st.DataObject
) -> None:
    places = list(_places(mail))
    holder, key = data.draw(st.sampled_from(places))
    if isinstance(holder, dict) and data.draw(st.booleans()):
        del holder[key]
    else:
        holder[key] = data.draw(JSON)
    body = msgspec.json.encode(mail)
    try:
        parse_killmail(body)
    except Invalid:
        assert not is_valid("Killmail", body)
    else:
        assert is_valid("Killmail", body)


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Give each object and list inside with each of its keys."""
    members = node.items() if isinstance(node, dict) else enumerate(node)
    for key, inner in list(members):
        yield node, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


@pytest.mark.parametrize("name", ["entry", "reference", "rejection"])
def test_a_message_without_a_required_field_is_wrong(name: str) -> None:
    message = document()["components"]["messages"][name]
    payload = message["examples"][0]["payload"]
    schema = document()["components"]["schemas"][message["name"]]
    assert set(schema["required"]) <= set(payload)
    for field in schema["required"]:
        rest = {key: value for key, value in payload.items() if key != field}
        assert not is_valid(message["name"], msgspec.json.encode(rest)), field


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("entry", {"v": 2}),
        ("entry", {"kind": "deleted"}),
        ("entry", {"sequence": "17"}),
        ("entry", {"hash": "none"}),
        ("entry", {"killmail_id": -1}),
        ("entry", {"stored_at": "2026-01-07T13:37:34Z"}),
        ("entry", {"names": {"Rifter": "587"}}),
        ("entry", {"names": {"587": None}}),
        ("entry", {"origin": None}),
        ("entry", {"zkb": []}),
        ("entry", {"killmail": None}),
        ("entry", {"killmail": {}}),
        ("entry", {"killmail": a_mail(killmail_time="yesterday")}),
        ("entry", {"killmail": a_mail(killmail_time="2026-01-07T13:37:34")}),
        ("entry", {"killmail": a_mail(attackers=[{"damage_done": 1}])}),
        ("entry", {"killmail": a_mail(solar_system_id=2**63)}),
        ("reference", {"body": "{}"}),
        ("reference", {"source": ""}),
        ("reference", {"as_of": -1}),
        ("reference", {"hash": "x" * 101}),
        ("rejection", {"value": {}}),
        ("rejection", {"truncated": None}),
        ("rejection", {"position": "96088891"}),
    ],
)
def test_a_message_with_a_wrong_value_is_wrong(name: str, changes: dict[str, Any]) -> None:
    message = document()["components"]["messages"][name]
    payload = message["examples"][0]["payload"] | changes
    assert not is_valid(message["name"], msgspec.json.encode(payload))


def test_only_a_truncated_entry_lacks_the_killmail() -> None:
    payload = dict(document()["components"]["messages"]["entry"]["examples"][0]["payload"])
    del payload["killmail"]
    assert not is_valid("Entry", msgspec.json.encode(payload))
    assert not is_valid("Entry", msgspec.json.encode(payload | {"truncated": False}))
    assert is_valid("Entry", msgspec.json.encode(payload | {"truncated": True}))


def test_a_reference_without_a_body_has_a_whole_hash() -> None:
    payload = dict(document()["components"]["messages"]["reference"]["examples"][0]["payload"])
    assert is_valid("Reference", msgspec.json.encode(payload | {"hash": "ab"}))
    del payload["body"]
    assert is_valid("Reference", msgspec.json.encode(payload))
    assert not is_valid("Reference", msgspec.json.encode(payload | {"hash": "ab"}))
