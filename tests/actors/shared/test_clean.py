"""What a database can't hold is cleaned; everything else stays as it came."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.clean import clean_object, clean_text
from actors.shared.errors import Invalid

DIRTY = {
    "nul": b'{"a":"x\\u0000y"}',
    "surrogate": b'{"a":"x\\ud800y"}',
    "key": b'{"a\\u0000":1}',
    "infinite": b'{"a":[1e400,-1e400]}',
    "tiny": b'{"a":0.0e-20000}',
    "digits": b'{"a":0.%b}' % (b"1" * 20_000),
    "long": b'{"a":%b}' % (b"9" * 200_000),
    "nan": b'{"a":NaN}',
}


@pytest.mark.service
@pytest.mark.parametrize("name", sorted(set(DIRTY) - {"infinite"}))
async def test_postgresql_takes_what_was_cleaned_and_only_that(
    postgresql: AsyncEngine, name: str
) -> None:
    async with postgresql.connect() as connection:
        with pytest.raises(Exception, match=r"Error"):
            await connection.execute(text("SELECT CAST(:v AS JSONB)"), {"v": DIRTY[name].decode()})
    clean = clean_object(DIRTY[name])
    async with postgresql.connect() as connection:
        await connection.execute(text("SELECT CAST(:v AS JSONB)"), {"v": clean.decode()})


@pytest.mark.parametrize(
    ("value", "clean"),
    [
        ("nul", {"a": "x\ufffdy"}),
        ("surrogate", {"a": "x\ufffdy"}),
        ("key", {"a\ufffd": 1}),
        ("infinite", {"a": [None, None]}),
        ("tiny", {"a": 0.0}),
        ("digits", {"a": 1 / 9}),
        ("long", {"a": None}),
        ("nan", {"a": None}),
    ],
)
def test_little_of_it_is_lost(value: str, clean: dict[str, Any]) -> None:
    assert msgspec.json.decode(clean_object(DIRTY[value])) == clean


@pytest.mark.parametrize(
    "value",
    [
        b"{}",
        b'{ "a": 1.50 }',
        b'{"a":1e300,"b":-1.5E-7}',
        b'{"a":"\\\\u0000"}',
        b'{"a":12345678901234567890}',
    ],
)
def test_what_is_well_stays_byte_for_byte(value: bytes) -> None:
    assert clean_object(value) == value


@pytest.mark.parametrize("value", [b"", b"[]", b"1", b"{", b"{" * 100_000, b'{"a":' * 5_000])
def test_what_is_no_object_is_invalid(value: bytes) -> None:
    with pytest.raises(Invalid, match="not a JSON object"):
        clean_object(value)


@given(st.text(st.characters(codec=None)))
def test_any_text_becomes_one_that_a_column_holds(value: str) -> None:
    clean = clean_text(value)
    assert "\0" not in clean
    assert len(clean) == len(value)
    clean.encode()


def test_most_text_stays_as_it_is() -> None:
    assert clean_text("Großer Käse 🚀\n") == "Großer Käse 🚀\n"
