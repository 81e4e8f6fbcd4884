"""`killstream export`: files that databases of others read, whole or absent, and a mirror."""

import asyncio
import hashlib
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pandas as pd
import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner, Result

from actors.export.manifest import open_directory
from actors.killmails.append import append_imported_day
from actors.killmails.persist import read, store
from actors.shared.feed import encode_entry, entries_after, feed_entry_of
from actors.shared.reference import Reference, encode_reference
from actors.shared.tables import DELAYED
from deploy.cli import app
from deploy.standin.server import load_dataset
from tests.support.killmails import standin_options
from tests.support.made import LATER, a_body, a_reference

DOCUMENT = Path(__file__).parents[3] / "streams" / "README.md"
COUNT = 400


@cache
def played() -> list[Reference]:
    return [
        a_reference(one.body, position, zkb=msgspec.Raw(one.zkb))
        for position, one in enumerate(load_dataset(standin_options(COUNT)).killmails)
    ]


def day_of(reference: Reference) -> date:
    return datetime.fromisoformat(killmail_of(reference)["killmail_time"]).date()


def killmail_of(reference: Reference) -> dict[str, Any]:
    killmail: dict[str, Any] = msgspec.json.decode(reference.body)
    return killmail


@cache
def day() -> date:
    """The day with the most killmails; the day before or after may have none."""
    return Counter(map(day_of, played())).most_common(1)[0][0]


def chosen() -> list[Reference]:
    """What is in the three days that are exported."""
    return [one for one in played() if abs(day_of(one) - day()) <= timedelta(days=1)]


async def persist(database: AsyncEngine, references: Iterable[Reference]) -> None:
    await store(database, *read(map(encode_reference, references)))


def arguments(out: Path, format_: str = "parquet", *more: str) -> list[str]:
    first, last = day() - timedelta(days=1), day() + timedelta(days=1)
    return [
        "export",
        f"--from={first}",
        f"--to={last}",
        f"--format={format_}",
        f"--out={out}",
        *more,
    ]


async def run(*command: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, command)


async def exported(out: Path, format_: str = "parquet", *more: str) -> str:
    done = await run(*arguments(out, format_, *more))
    assert done.exit_code == 0, done.output
    return done.stdout


def manifest(out: Path) -> dict[str, Any]:
    files: dict[str, Any] = msgspec.json.decode((out / "manifest.json").read_bytes())["files"]
    return files


def lines(out: Path) -> list[dict[str, Any]]:
    text = b"".join(file.read_bytes() for file in sorted(out.glob("*.ndjson")))
    return [msgspec.json.decode(line, type=dict[str, msgspec.Raw]) for line in text.splitlines()]


def code(language: str) -> list[str]:
    section = DOCUMENT.read_text().split("## Files: ")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


async def test_both_formats_have_all_that_is_stored(database: AsyncEngine, tmp_path: Path) -> None:
    await persist(database, played())
    delayed = {"killmail_id": 1, "reference": b"", "publish_at": datetime.now(UTC)}
    at = datetime.combine(day(), datetime.min.time(), UTC)
    async with database.begin() as connection:
        await connection.execute(insert(DELAYED).values(killmail_time=at, **delayed))
    out = tmp_path / "out"
    await exported(out)
    await exported(out, "ndjson")

    bodies = {one.killmail_id: bytes(one.body) for one in chosen()}
    blocks = {one.killmail_id: msgspec.json.decode(one.zkb) for one in chosen()}
    assert {int(bytes(one["killmail_id"])): bytes(one["killmail"]) for one in lines(out)} == bodies
    assert {
        int(bytes(one["killmail_id"])): msgspec.json.decode(one["zkb"]) for one in lines(out)
    } == blocks

    killmails = [msgspec.json.decode(body) for body in bodies.values()]
    items = [item for one in killmails for item in one["victim"].get("items", [])]
    value = sum(block.get("totalValue", 0) for block in blocks.values())
    wanted = (
        len(killmails),
        sum(len(one["attackers"]) for one in killmails),
        len(items),
        sum(len(item.get("items", [])) for item in items),
        pytest.approx(value),
    )
    assert duckdb_counts(out) == wanted
    assert pandas_counts(out) == wanted

    for name, file in manifest(out).items():
        content = (out / name).read_bytes()
        assert (file["bytes"], file["sha256"]) == (
            len(content),
            hashlib.sha256(content).hexdigest(),
        )
        assert file["sequence"] == len(played())
    assert sum(file["rows"] for file in manifest(out).values()) == 2 * len(killmails)
    assert sorted(manifest(out)) == sorted(
        f"{day() + timedelta(days=n)}.{format_}"
        for n in (-1, 0, 1)
        for format_ in ("parquet", "ndjson")
    )


def duckdb_counts(out: Path) -> Any:
    return duckdb.execute(
        f"""
        SELECT count(*), sum(len(attackers)), sum(coalesce(len(victim.items), 0)),
               sum(coalesce(list_sum(list_transform(
                   victim.items, lambda item: coalesce(len(item.items), 0))), 0)),
               coalesce(sum(zkb.totalValue), 0)
          FROM '{out}/*.parquet'
        """
    ).fetchone()


def pandas_counts(out: Path) -> Any:
    frame = pd.concat([pd.read_parquet(file) for file in sorted(out.glob("*.parquet"))])
    items = [item for victim in frame["victim"] for item in _list(victim["items"])]
    return (
        len(frame),
        frame["attackers"].map(len).sum(),
        len(items),
        sum(len(_list(item["items"])) for item in items),
        sum(zkb["totalValue"] or 0 for zkb in frame["zkb"]),
    )


def _list(value: Any) -> Any:
    return [] if value is None else value


async def test_a_rerun_writes_only_what_has_changed_and_the_feed_completes_the_mirror(
    database: AsyncEngine, tmp_path: Path
) -> None:
    await persist(database, chosen())
    out, recipe = tmp_path / "out", dict[str, Any]()
    await exported(out, "ndjson")
    before = {file: (file.stat().st_mtime_ns, file.stat().st_ino) for file in out.iterdir()}
    assert "exported: 0 days" in await exported(out, "ndjson")
    assert {f: (f.stat().st_mtime_ns, f.stat().st_ino) for f in out.iterdir()} == before
    exec(code("python")[-1], recipe)  # the document's
    mirror: dict[int, Any] = {}
    recipe["load"](mirror, out)

    corrected = killmail_of(next(one for one in chosen() if day_of(one) == day()))
    body = msgspec.json.encode(corrected | {"war_id": 7})
    new = a_body(7, killmail_time=f"{day()}T23:59:59.5Z")
    await persist(database, [a_reference(body, as_of=LATER), a_reference(new)])
    known = manifest(out)
    assert "exported: 1 days" in await exported(out, "ndjson")
    changed = {name for name, file in manifest(out).items() if file != known[name]}
    assert changed == {f"{day()}.ndjson"}
    assert manifest(out)[f"{day()}.ndjson"]["sequence"] == len(chosen()) + 2

    imported = day() + timedelta(days=1)
    async with database.begin() as connection:
        await append_imported_day(connection, imported, "everef", added=1, total=1)
    assert "exported: 1 days" in await exported(out, "ndjson")
    entries = await entries_of(database)
    again = [recipe["fold"](mirror, entry) for entry in [*reversed(entries), *entries]]
    assert set(again) == {None, str(imported)}
    whole: dict[int, Any] = {}
    recipe["load"](whole, out)
    assert {id_: one for id_, (_, one) in mirror.items()} == {
        id_: one for id_, (_, one) in whole.items()
    }
    assert mirror[7][1]["killmail"] == msgspec.json.decode(new)


async def entries_of(database: AsyncEngine) -> list[dict[str, Any]]:
    async with database.connect() as connection:
        rows = (await connection.execute(entries_after(0, 10_000))).mappings().all()
    return [msgspec.json.decode(encode_entry(feed_entry_of(row))) for row in rows]


async def test_the_examples_of_the_document_run(
    database: AsyncEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await persist(database, chosen())
    for format_ in "parquet", "ndjson":
        await exported(tmp_path / "export", format_)
    monkeypatch.chdir(tmp_path)
    for statement in "".join(code("sql")).split(";")[:-1]:
        assert duckdb.execute(statement).fetchall()
    found = dict[str, Any]()
    exec(code("python")[0], found)
    attackers = sum(len(killmail_of(one)["attackers"]) for one in chosen())
    assert len(found["attackers"]) == attackers
    assert found["by_hour"].sum() == len(chosen())


SIGNALLED = """
import os, signal, sys
from actors.export import day
from deploy.__main__ import main

class Writer(day.NdjsonWriter):
    def add(self, killmail):
        super().add(killmail)
        if "{day}" in self._file.name:
            os.kill(os.getpid(), {number})

day.WRITERS["ndjson"] = Writer
main()
"""


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_day_that_was_interrupted_is_absent_and_the_rerun_goes_on(
    database: AsyncEngine, tmp_path: Path, number: signal.Signals
) -> None:
    await persist(database, chosen())
    out, file = tmp_path / "out", f"{day()}.ndjson"
    program = SIGNALLED.format(day=day(), number=int(number))
    command = [sys.executable, "-c", program, *arguments(out, "ndjson")]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    assert len(manifest(out)) == 1
    assert not (out / file).exists()
    if number == signal.SIGTERM:
        assert done.returncode == 130
        assert "stopped after 1 days, which are whole: the same command goes on" in done.stderr
        assert list(out.glob(".*.part")) == []
    assert "exported: 2 days" in await exported(out, "ndjson")
    assert len(lines(out)) == len(chosen())
    assert list(out.glob(".*.part")) == []


async def test_a_directory_of_no_use_is_named(database: AsyncEngine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    other = tmp_path / "other"
    other.mkdir()
    (other / "manifest.json").write_text('{"v":1,"feed_id":"of another","files":{}}')
    for out, message in [
        (tmp_path / "file", f"can't write to {tmp_path / 'file'}: File exists"),
        (other, "has an export of another database (feed of another, and"),
    ]:
        done = await run(*arguments(out))
        assert done.exit_code == 2
        assert message in done.stderr
    with open_directory(tmp_path / "busy"):
        done = await run(*arguments(tmp_path / "busy"))
    assert done.exit_code == 2
    assert "another export writes to" in done.stderr


FULL = """
import resource, signal
from actors.export import day
from deploy.__main__ import main

class Writer(day.NdjsonWriter):
    def add(self, killmail):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
        super().add(killmail)

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
day.WRITERS["ndjson"] = Writer
main()
"""


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_full_disk_is_named_and_leaves_no_file(
    database: AsyncEngine, tmp_path: Path
) -> None:
    await persist(database, chosen())
    out = tmp_path / "out"
    command = [sys.executable, "-c", FULL, *arguments(out, "ndjson")]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search(r"^killstream: can't write .*\.ndjson: File too large$", done.stderr, re.M)
    assert list(out.glob(".*.part")) == []


async def test_wrong_days_are_refused() -> None:
    def days(first: str, last: str) -> list[str]:
        return ["export", f"--from={first}", f"--to={last}"]

    for command, message in [
        (days("yesterday", "2026-01-01"), "'yesterday' does not match"),
        (days("2026-01-02", "2026-01-01"), "2026-01-02 is after --to 2026-01-01"),
        (days("2026-01-01", "2999-01-01"), "2999-01-01 is to come"),
    ]:
        done = await run(*command)
        assert done.exit_code == 2
        assert message in re.sub(r"[\s│]+", " ", done.output)
