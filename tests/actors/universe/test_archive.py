"""Archives are read tolerantly where it doesn't matter, and refused where it does."""

import io
import struct
import zipfile

import pytest

from actors.shared.errors import Invalid
from actors.universe import archive
from actors.universe.archive import read_archive
from tests.support.archive import archive_of, small_files, with_lines, with_members


def read(content: bytes) -> archive.Archive:
    return read_archive(io.BytesIO(content))


def reason(content: bytes) -> str:
    with pytest.raises(Invalid) as error:
        read(content)
    return str(error.value)


def test_rows_have_the_columns_of_their_tables() -> None:
    found = read(archive_of(build=7))
    assert found.build_number == 7
    tables = found.tables
    assert tables["solar_systems"][30_000_142] == (
        30_000_142, 20_000_020, 10_000_002, "Jita", 0.945913, "high", -1.5e17, 6.1e16, 1.2e17
    )  # fmt: skip
    assert tables["stargates"][50_001_248] == (50_001_248, 30_000_142, 50_001_250, 30_000_144)
    assert tables["npc_corporations"] == {
        1_000_001: (1_000_001, None, "Doomheim", "666"),
        1_000_002: (1_000_002, 500_001, "CBD", "CBDC"),
    }
    assert tables["universe_types"][3] == (3, 25, "Name 3", True)
    assert tables["universe_groups"] == {25: (25, 6, "Frigate", True)}


def test_optional_fields_may_be_absent_and_unknown_ones_are_ignored() -> None:
    types = with_lines(
        "types.jsonl",
        b'{"_key":0,"groupID":0}',
        b'{"_key":1,"groupID":2,"name":"plain","mass":1e400,"more":{"deep":[1]}}',
        b"",
        b'{"_key":2,"groupID":2,"name":{"de":"nur das"},"published":false}',
        b'{"_key":3,"groupID":2,"name":{"en":"\\u0000!"}}  ',
    )
    assert read(types).tables["universe_types"] == {
        0: (0, 0, None, None),
        1: (1, 2, "plain", None),
        2: (2, 2, None, False),
        3: (3, 2, "\ufffd!", None),
    }
    system = with_lines(
        "mapSolarSystems.jsonl", b'{"_key":31000005,"constellationID":1,"regionID":11000001}'
    )
    assert read(system).tables["solar_systems"] == {
        31_000_005: (31_000_005, 1, 11_000_001, None, 0.0, "wormhole", None, None, None)
    }


def test_build_may_be_absent() -> None:
    assert read(with_lines("types.jsonl", b'{"_key":1,"groupID":2}')).build_number is None


@pytest.mark.parametrize(
    "line",
    [
        b'{"groupID":1}',
        b'{"_key":1}',
        b'{"_key":-1,"groupID":1}',
        b'{"_key":2147483648,"groupID":1}',
        b'{"_key":"1","groupID":1}',
        b'{"_key":1.5,"groupID":1}',
        b'{"_key":true,"groupID":1}',
        b'{"_key":null,"groupID":1}',
        b'{"_key":1,"groupID":1',
        b"[1]",
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_wrong_records_are_refused_with_their_line(line: bytes) -> None:
    assert reason(with_lines("types.jsonl", b'{"_key":7,"groupID":1}', line)).startswith(
        "types.jsonl, line 2: "
    )


def test_an_id_that_is_there_twice_is_refused() -> None:
    files = small_files()
    files["types"] += files["types"][:1]
    assert "0 is there twice" in reason(archive_of(files))


@pytest.mark.parametrize("name", sorted(small_files()))
def test_a_missing_or_empty_file_is_refused(name: str) -> None:
    files = small_files()
    files[name] = []
    assert reason(archive_of(files)) == f"the archive's {name}.jsonl is empty"
    del files[name]
    assert reason(archive_of(files)) == f"the archive has no {name}.jsonl"


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_archive_is_refused(share: float) -> None:
    content = archive_of()
    assert "not a complete zip archive" in reason(content[: int(share * len(content))])


def test_a_damaged_byte_is_noticed() -> None:
    content = bytearray(archive_of(small_files(types=2_000)))
    content[content.index(b"types.jsonl") + 500] ^= 0xFF
    assert "not a complete zip archive" in reason(bytes(content))


@pytest.mark.parametrize("content", [b"", b"<html>down</html>", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_archive_is_refused(content: bytes) -> None:
    assert reason(content)


def test_the_same_file_in_two_folders_is_refused() -> None:
    twice = with_members([(zipfile.ZipInfo("sde/types.jsonl"), b'{"_key":1,"groupID":1}')])
    assert reason(twice) == "the archive has types.jsonl twice"


def test_other_files_are_not_read_whatever_their_names() -> None:
    others = [
        (zipfile.ZipInfo(name), b"not JSON")
        for name in ("../../etc/passwd", "/types.jsonl.exe", "mapMoons.jsonl", "..\\types.jsonl ")
    ]
    assert len(read(with_members(others)).tables) == 9


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(method: int) -> None:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", method) as zipped:
        zipped.writestr("types.jsonl", b'{"_key":1,"groupID":1}')
    assert "packed in an unusual way" in reason(written.getvalue())


def test_an_encrypted_file_is_refused() -> None:
    content = bytearray(archive_of())
    directory = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)
    content[directory + 8] |= 1
    assert "encrypted" in reason(bytes(content))


def test_a_bomb_is_refused_by_what_its_header_says_and_by_what_it_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bomb = with_lines("types.jsonl", b" " * 5_000_000)
    assert len(bomb) < 20_000
    assert "line 1: too long" in reason(bomb)
    monkeypatch.setattr(archive, "MAX_ROWS", 1_000)
    assert "too many lines" in reason(with_lines("types.jsonl", *[b""] * 2_000))
    monkeypatch.setattr(archive, "MAX_FILE_BYTES", 4_000_000)
    assert "more than 4000000 bytes" in reason(bomb)


def test_more_rows_than_memory_is_meant_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_ROWS", 100)
    files = small_files(types=60)
    read(archive_of(files))
    files["groups"] += [files["groups"][0] | {"_key": n} for n in range(100, 150)]
    assert reason(archive_of(files)) == "the archive has more than 100 rows"


def test_a_size_that_lies_is_noticed() -> None:
    content = bytearray(with_lines("types.jsonl", *[b'{"_key":%d,"groupID":1}' % 7] * 1))
    directory = content.rindex(b"PK\x01\x02", 0, content.rindex(b"types.jsonl"))
    struct.pack_into("<L", content, directory + 24, 10)
    assert reason(bytes(content))


def test_a_huge_directory_is_refused_before_it_is_read() -> None:
    written = io.BytesIO(archive_of())
    with zipfile.ZipFile(written, "a") as zipped:
        for n in range(20_000):
            zipped.writestr(zipfile.ZipInfo(f"{n:060}"), b"")
    assert reason(written.getvalue()) == "the archive has too large a directory"
