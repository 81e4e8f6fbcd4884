"""The universe is loaded whole or not at all, on both databases."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.database import open_database
from actors.shared.errors import Invalid, Misconfigured, ServerUnavailable
from actors.shared.settings import PREFIX, Settings
from actors.shared.tables import (
    PAUSES,
    SOLAR_SYSTEMS,
    STARGATES,
    UNIVERSE,
    UNIVERSE_GROUPS,
    UNIVERSE_TYPES,
)
from actors.universe import download, store
from actors.universe.archive import read_archive
from actors.universe.load import Loaded, OlderArchive, load_from_file, load_from_url
from actors.universe.records import FILES
from actors.universe.store import FewerRows, count_rows, replace_universe
from deploy.standin.server import Standin
from deploy.standin.static_data import LATEST
from tests.support.archive import archive_of, named, small_files
from tests.support.esi import set_faults, standin
from tests.support.processes import ROOT
from tests.support.tables import rows, statements

CAPSULE = 670


@pytest.fixture
async def upstream() -> AsyncIterator[Standin]:
    async with standin(20) as started:
        yield started


@pytest.fixture
def settings(upstream: Standin, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", sde_url=upstream.url + LATEST)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def answers(upstream: Standin) -> dict[int, int]:
    """Count the archive's answers by status."""
    counted = upstream.playback.stats.requests.items()
    return {status: n for (_, endpoint, status), n in counted if endpoint == "archive"}


async def a_file(folder: Path, content: bytes) -> Path:
    path = folder / "archive.zip"
    path.write_bytes(content)
    return path


async def state(database: AsyncEngine) -> Any:
    async with database.connect() as connection:
        return (await connection.execute(select(UNIVERSE))).one()


async def everything(database: AsyncEngine) -> dict[str, list[dict[str, Any]]]:
    return {file.table.name: await rows(database, file.table) for file in FILES}


async def test_it_is_downloaded_once_and_again_when_it_changes(
    settings: Settings, database: AsyncEngine, http: aiohttp.ClientSession, upstream: Standin
) -> None:
    first = await load_from_url(settings, database, http)
    assert first.is_new
    assert first.changed == sum(first.rows.values()) > 2_000
    assert first.rows == await count_rows(database)
    assert await load_from_url(settings, database, http) == Loaded(3_000_000, False, {}, 0)
    assert answers(upstream) == {200: 1, 304: 1}

    set_faults(upstream, sde_build=3_000_001, renamed={CAPSULE: "Egg"})
    with statements(database) as said:
        second = await load_from_url(settings, database, http)
    assert second == Loaded(3_000_001, True, first.rows, 1)
    written = [text.split()[2] for text in said if text.startswith(("INSERT", "DELETE"))]
    assert written == ["universe", "universe_types", "universe_types"]
    types = {row["type_id"]: row["name"] for row in await rows(database, UNIVERSE_TYPES)}
    assert types[CAPSULE] == "Egg"
    assert (await state(database)).build_number == 3_000_001
    assert not list(settings.data_dir.glob("*.zip*"))


async def test_systems_have_what_filters_need(
    settings: Settings, database: AsyncEngine, http: aiohttp.ClientSession
) -> None:
    await load_from_url(settings, database, http)
    systems = await rows(database, SOLAR_SYSTEMS)
    assert {row["band"] for row in systems} == {
        "high", "low", "null", "wormhole", "abyssal", "pochven"
    }  # fmt: skip
    assert all(isinstance(row["x"], float) and row["constellation_id"] for row in systems)
    gates = {row["stargate_id"]: row for row in await rows(database, STARGATES)}
    for gate in gates.values():
        back = gates[gate["destination_stargate_id"]]
        assert back["destination_solar_system_id"] == gate["solar_system_id"]


@pytest.mark.parametrize(
    ("faults", "error", "reason"),
    [
        ({"sde_status": 503}, ServerUnavailable, "answers 503"),
        ({"sde_status": 403}, ServerUnavailable, "answers 403"),
        ({"sde_wrong": ("cut",)}, ServerUnavailable, "Error"),
        ({"sde_wrong": ("html",)}, Invalid, "not a complete zip archive"),
        ({"sde_wrong": ("file",)}, Invalid, "no mapSolarSystems.jsonl"),
        ({"sde_wrong": ("twice",)}, Invalid, "is there twice"),
        ({"sde_wrong": ("rows",)}, FewerRows, "rows for universe_types"),
        ({"sde_build": 2_999_999}, OlderArchive, "older than build 3000000"),
    ],
)
async def test_what_was_loaded_stays_after_a_failure(
    settings: Settings,
    sqlite: AsyncEngine,
    http: aiohttp.ClientSession,
    upstream: Standin,
    faults: dict[str, Any],
    error: type[Exception],
    reason: str,
) -> None:
    await load_from_url(settings, sqlite, http)
    before = await everything(sqlite), tuple(await state(sqlite))
    set_faults(upstream, **{"sde_build": 3_000_001, **faults})
    with pytest.raises(error, match=reason):
        await load_from_url(settings, sqlite, http)
    assert (await everything(sqlite), tuple(await state(sqlite))) == before


async def test_force_loads_what_is_older_and_has_fewer_rows(
    settings: Settings, database: AsyncEngine, http: aiohttp.ClientSession, upstream: Standin
) -> None:
    first = await load_from_url(settings, database, http)
    set_faults(upstream, sde_build=2_999_999, sde_wrong=("rows",))
    forced = await load_from_url(settings, database, http, force=True)
    assert forced.is_new
    assert forced.changed == first.rows["universe_types"] - forced.rows["universe_types"] > 100
    assert await count_rows(database) == forced.rows
    again = await load_from_url(settings, database, http, force=True)
    assert (again.is_new, again.changed) == (True, 0)


async def test_a_file_is_loaded_once_and_replaced_by_a_newer_build(
    settings: Settings, database: AsyncEngine, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    path = await a_file(tmp_path, archive_of(build=7))
    assert (await load_from_file(database, path)).is_new
    assert not (await load_from_file(database, path)).is_new
    assert (await state(database)).source == "archive.zip"
    with pytest.raises(OlderArchive):
        await load_from_file(database, await a_file(tmp_path, archive_of(build=6)))
    assert (await load_from_url(settings, database, http)).build_number == 3_000_000
    etag = (await state(database)).etag
    assert etag


async def test_the_same_archive_from_a_file_keeps_what_is_known_of_the_url(
    settings: Settings, sqlite: AsyncEngine, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    await load_from_url(settings, sqlite, http)
    before = await state(sqlite)
    async with http.get(settings.sde_url) as answer:
        path = await a_file(tmp_path, await answer.read())
    assert not (await load_from_file(sqlite, path)).is_new
    assert tuple(await state(sqlite)) == tuple(before)


async def test_an_unreadable_file_says_why(sqlite: AsyncEngine, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="No such file"):
        await load_from_file(sqlite, tmp_path / "absent.zip")
    with pytest.raises(Invalid, match="Is a directory"):
        await load_from_file(sqlite, tmp_path)


async def test_rows_that_left_are_deleted(database: AsyncEngine, tmp_path: Path) -> None:
    files = small_files()
    files["groups"].append(named(26, "Cruiser", categoryID=6))
    await load_from_file(database, await a_file(tmp_path, archive_of(files)))
    files["groups"] = [named(27, "New", categoryID=6), *files["groups"][:1]]
    files["types"][3]["groupID"] = 27
    loaded = await load_from_file(database, await a_file(tmp_path, archive_of(files, build=8)))
    assert loaded.changed == 2
    assert [row["group_id"] for row in await rows(database, UNIVERSE_GROUPS)] == [25, 27]
    assert [row["group_id"] for row in await rows(database, UNIVERSE_TYPES)].count(27) == 1


async def test_several_loads_at_once_give_one_universe(
    database: AsyncEngine, tmp_path: Path
) -> None:
    paths = []
    for build in (7, 8, 9):
        files = small_files(types=2_000)
        files["groups"][0]["name"] = {"en": f"Of build {build}"}
        paths.append(tmp_path / f"{build}.zip")
        paths[-1].write_bytes(archive_of(files, build))
    await asyncio.gather(*(load_from_file(database, path, force=True) for path in paths))
    ((group,), row) = await rows(database, UNIVERSE_GROUPS), await state(database)
    assert group["name"] == f"Of build {row.build_number}"
    assert len(await rows(database, UNIVERSE_TYPES)) == 2_000


async def test_readers_see_the_universe_from_before_or_after(
    database: AsyncEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "BATCH", 100)
    counts = set()
    with (tmp_path / "archive.zip").open("wb") as file:
        file.write(archive_of(small_files(types=3_000)))
    loading = asyncio.create_task(load_from_file(database, tmp_path / "archive.zip"))
    while not loading.done():
        counts.add(len(await rows(database, UNIVERSE_TYPES)))
    await loading
    counts.add(len(await rows(database, UNIVERSE_TYPES)))
    assert counts == {0, 3_000}


async def test_a_load_that_is_interrupted_leaves_what_was_there(
    database: AsyncEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load_from_file(database, await a_file(tmp_path, archive_of()))
    before = await everything(database), tuple(await state(database))
    with (tmp_path / "archive.zip").open("rb+") as file:
        file.write(archive_of(small_files(types=3_000), build=8))
        file.seek(0)
        tables = read_archive(file).tables

    async def fail(*_: Any, **__: Any) -> None:
        raise OSError("the connection was lost")

    monkeypatch.setattr(store, "write_universe", fail)  # the last statement before the commit
    with pytest.raises(OSError, match="lost"):
        await replace_universe(database, tables)
    assert (await everything(database), tuple(await state(database))) == before


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from actors.shared.database import open_database
from actors.shared.settings import settings
from actors.universe import store
from actors.universe.load import load_from_file

async def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

async def main():
    async with open_database(settings()) as database:
        await load_from_file(database, Path(sys.argv[1]))

store.write_universe = die  # the last statement before the commit
asyncio.run(main())
"""


async def test_a_killed_load_leaves_what_was_there_and_the_next_one_loads(
    database: AsyncEngine, tmp_path: Path
) -> None:
    await load_from_file(database, await a_file(tmp_path, archive_of()))
    before = await everything(database), tuple(await state(database))
    path = await a_file(tmp_path, archive_of(small_files(types=3_000), build=8))
    url = database.url.render_as_string(hide_password=False)
    where = {"DATABASE_URL": url} if "postgresql" in url else {"DATA_DIR": str(tmp_path)}
    killed = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", KILLED, str(path)),
        cwd=ROOT,
        env=os.environ | {PREFIX + name: value for name, value in where.items()},
    )
    assert await killed.wait() == -signal.SIGKILL
    assert (await everything(database), tuple(await state(database))) == before
    assert (await load_from_file(database, path)).changed == 2_980


async def test_a_killmail_never_waits_a_second_for_a_whole_universe(
    sqlite: AsyncEngine, tmp_path: Path
) -> None:
    files = small_files(types=51_000)
    files["mapSolarSystems"] = [
        files["mapSolarSystems"][0] | {"_key": 30_000_000 + n} for n in range(8_500)
    ]
    path = await a_file(tmp_path, archive_of(files))
    async with open_database(Settings(data_dir=tmp_path)) as own:
        longest_s = [0.0]
        loading = asyncio.create_task(load_from_file(own, path))
        while not loading.done():
            began_s = time.monotonic()
            async with sqlite.begin() as connection:
                now = datetime.now(UTC)
                await connection.execute(insert(PAUSES).values(name=str(now), paused_at=now))
            longest_s.append(time.monotonic() - began_s)
    assert (await loading).changed > 59_500
    assert len(longest_s) > 10
    assert max(longest_s) < 1.0


async def test_too_large_a_download_is_refused(
    settings: Settings,
    sqlite: AsyncEngine,
    http: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(download, "MAX_BYTES", 10_000)
    with pytest.raises(Invalid, match="more than 10000 bytes"):
        await load_from_url(settings, sqlite, http)


async def test_an_upstream_that_is_away_or_has_no_contact_says_so(
    settings: Settings, sqlite: AsyncEngine, http: aiohttp.ClientSession, upstream: Standin
) -> None:
    away = settings.model_copy(update={"sde_url": "http://127.0.0.1:9/archive.zip"})
    with pytest.raises(ServerUnavailable, match="Connect"):
        await load_from_url(away, sqlite, http)
    real = settings.model_copy(update={"sde_url": "https://static.example.org/archive.zip"})
    with pytest.raises(Misconfigured, match="KILLSTREAM_CONTACT"):
        await load_from_url(real, sqlite, http)
    (settings.data_dir.parent / "file").write_text("")
    unusable = settings.model_copy(update={"data_dir": settings.data_dir.parent / "file" / "data"})
    with pytest.raises(Misconfigured, match="KILLSTREAM_DATA_DIR"):
        await load_from_url(unusable, sqlite, http)
