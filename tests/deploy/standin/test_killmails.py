import gzip
from pathlib import Path

import msgspec
import pytest

from actors.shared.errors import Misconfigured
from actors.shared.killmail import entity_ids, killmail_hash, parse_killmail
from deploy.standin.killmails import read_killmails
from deploy.standin.names import Names, make_name
from deploy.standin.server import StandinOptions, load_dataset

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


def test_lines_are_kept_byte_for_byte_and_hashed(killmails_file: Path) -> None:
    lines = killmails_file.read_bytes().splitlines()
    played = list(read_killmails(killmails_file))
    assert [one.body for one in played] == lines
    assert [one.killmail_hash for one in played] == [
        killmail_hash(parse_killmail(line)) for line in lines
    ]


def test_compressed_file_with_gaps_and_repeats_gives_each_killmail_once(
    killmails_file: Path, tmp_path: Path
) -> None:
    lines = killmails_file.read_bytes()
    packed = tmp_path / "killmails.jsonl.gz"
    packed.write_bytes(gzip.compress(lines + b"\n\n" + lines))
    assert list(read_killmails(packed)) == list(read_killmails(killmails_file))


def test_hashes_and_zkb_are_taken_from_files_that_have_them(
    killmails_file: Path, tmp_path: Path
) -> None:
    first, second, *_ = read_killmails(killmails_file)
    hashes = tmp_path / "hashes.csv"
    hashes.write_text(f"killmail_id,hash,http_last_modified\n{first.killmail_id},{'ab' * 20},\n")
    zkb = tmp_path / "zkb.jsonl"
    zkb.write_text('{"killID":%d,"zkb":{"hash": "x"}}\n' % second.killmail_id)  # noqa: UP031
    known_hash, known_zkb, unknown, *_ = read_killmails(killmails_file, hashes, zkb)
    assert known_hash.killmail_hash == "ab" * 20
    assert known_zkb.zkb == b'{"hash": "x"}'
    assert msgspec.json.decode(unknown.zkb)["hash"] == unknown.killmail_hash


@pytest.mark.parametrize("line", [b"{}", b"nonsense", b'{"killmail_id":1}'])
def test_line_that_is_no_killmail_is_named(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "wrong.jsonl"
    path.write_bytes(b"\n" + line)
    with pytest.raises(Misconfigured, match=r"wrong\.jsonl, line 2"):
        read_killmails(path)


@pytest.mark.parametrize("name", ["missing.jsonl", "missing.jsonl.gz"])
def test_missing_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="missing"):
        load_dataset(StandinOptions(killmails=tmp_path / name))


def test_hashes_without_their_columns_are_refused(killmails_file: Path, tmp_path: Path) -> None:
    hashes = tmp_path / "hashes.csv"
    hashes.write_text("id,sha\n1,2\n")
    with pytest.raises(Misconfigured, match=r"hashes\.csv"):
        read_killmails(killmails_file, hashes)


def test_old_ids_are_named_by_what_they_are_in_the_dataset(tmp_path: Path) -> None:
    path = tmp_path / "old.jsonl"
    path.write_text(
        '{"killmail_id":1,"killmail_time":"2008-01-06T00:44:00Z","solar_system_id":30002691,'
        '"victim":{"damage_taken":1,"ship_type_id":644,"character_id":985810621,'
        '"corporation_id":1172774420,"alliance_id":1685076665},"attackers":[]}\n'
    )
    names = Names(read_killmails(path).category_hints())
    found = [names.find(id_) for id_ in (985810621, 1172774420, 1685076665)]
    assert [one.category for one in found if one] == ["character", "corporation", "alliance"]


def test_names_come_from_the_universe_folder_where_it_has_them(tmp_path: Path) -> None:
    for file in ("types", "systems", "constellations", "regions", "factions", "npc_corporations"):
        rows = [[587, "Rifter"], [588, None]] if file == "types" else []
        table = msgspec.json.encode({"columns": ["id", "name"], "rows": rows})
        (tmp_path / f"{file}.json.gz").write_bytes(gzip.compress(table))
    names = Names({}, tmp_path)
    assert names.find(587) == ("Rifter", "inventory_type")
    assert names.find(588) == (make_name(588, "inventory_type"), "inventory_type")


def test_universe_folder_without_its_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"types\.json\.gz"):
        Names({}, tmp_path)


def test_every_killmail_has_its_real_hash_and_a_name_for_each_id() -> None:
    """On the real killmails where they stand beside the project, else on made-up ones."""
    real = DATA / "killmails.jsonl.gz"
    options = StandinOptions(
        killmails=real if real.exists() else None,
        hashes=DATA / "killmail-hashes.csv.gz" if real.exists() else None,
        synthetic=5_000,
    )
    killmails = load_dataset(options).killmails
    names = Names(killmails.category_hints())
    assert len(killmails) in (57_959, 5_000)
    for played in killmails:
        killmail = parse_killmail(played.body)
        if any(attacker.final_blow for attacker in killmail.attackers):
            assert killmail_hash(killmail) == played.killmail_hash
        unnamed = [id_ for id_ in entity_ids(killmail) if names.find(id_) is None]
        assert unnamed == []
