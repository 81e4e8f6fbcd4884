"""EVE Ref's archives: ESI's text as it was, and what is damaged."""

import tarfile
from io import BytesIO

import pytest

from actors.history.archive import Archived, Refused
from actors.history.errors import Unreadable
from actors.history.everef import unpack
from deploy.standin.everef import pack


def test_esis_text_stays_as_it_was() -> None:
    body = b'{"a":1.0e5,"b":{"killmail_hash":"\\u00e9"},"killmail_id":7}'
    for text in (
        b'{"killmail_hash":"ab",' + body[1:],
        body[:-1] + b',"killmail_hash":"ab","http_last_modified":"x"}',
        body.replace(b',"b"', b',"http_last_modified":"x","killmail_hash":"ab","b"'),
    ):
        (found,) = unpack(pack([("killmails/7.json", text)]))
        assert found == (body, "ab")


def test_files_that_are_no_objects_are_told_apart_and_folders_are_skipped() -> None:
    written = BytesIO()
    with tarfile.open(fileobj=written, mode="w:bz2", format=tarfile.PAX_FORMAT) as archive:
        folder = tarfile.TarInfo("killmails")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, text in (("é" * 200, b"[]"), ("b", b'{"a":1}'), ("c", b"\xff"), ("d", b"")):
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, BytesIO(text))
    found = list(unpack(written.getvalue()))
    assert [type(one) for one in found] == [Refused, Archived, Refused, Refused]


@pytest.mark.parametrize("end", [1, 50, -30, -1])
def test_an_archive_that_is_cut_off_is_damaged(end: int) -> None:
    whole = pack([(f"{n}.json", b'{"a":1}') for n in range(3)])
    with pytest.raises(Unreadable, match="damaged"):
        list(unpack(whole[:end]))


def test_a_header_that_promises_too_much_is_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.history.everef.MAX_FILE_BYTES", 10)
    with pytest.raises(Unreadable, match="has 12 bytes"):
        list(unpack(pack([("a.json", b'{"a":123456}')])))
