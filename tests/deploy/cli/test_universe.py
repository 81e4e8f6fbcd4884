"""`killstream universe load`: counts, clear errors, and nothing done twice."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner, Result

from actors.shared.settings import PREFIX, settings
from deploy.cli import app
from deploy.standin.server import Standin
from deploy.standin.static_data import LATEST
from tests.support.archive import archive_of, small_files
from tests.support.esi import set_faults, standin


async def load(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["universe", "load", *arguments])


@pytest.fixture
async def upstream(
    database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Standin]:
    async with standin(20) as started:
        monkeypatch.setenv(f"{PREFIX}SDE_URL", started.url + LATEST)
        settings.cache_clear()
        yield started


async def test_it_prints_what_was_loaded_and_says_up_to_date_the_second_time(
    upstream: Standin,
) -> None:
    first = await load()
    assert first.exit_code == 0, first.output
    assert "solar_systems" in first.stdout
    assert "loaded: build 3000000, " in first.stdout
    second = await load()
    assert (second.exit_code, second.stdout) == (0, "up to date: build 3000000\n")
    forced = await load("--force")
    assert forced.stdout.endswith("loaded: build 3000000, 0 rows changed\n")


async def test_an_error_is_one_line_with_what_to_do(upstream: Standin, tmp_path: Path) -> None:
    set_faults(upstream, sde_status=503)
    failed = await load()
    assert failed.exit_code == 1
    assert "killstream: http://127.0.0.1" in failed.stderr
    assert "answers 503" in failed.stderr
    assert "Traceback" not in failed.stderr
    path = tmp_path / "archive.zip"
    path.write_bytes(archive_of(build=7))
    assert (await load("--file", str(path))).exit_code == 0
    path.write_bytes(archive_of(small_files(types=2), build=8))
    refused = await load("--file", str(path))
    assert refused.exit_code == 1
    assert "nothing was changed" in refused.stderr
    assert "--force loads it" in refused.stderr
    assert (await load("--file", str(path), "--force")).exit_code == 0
    path.write_bytes(b"no zip")
    assert "not a complete zip archive" in (await load("--file", str(path))).stderr
    assert "No such file" in (await load("--file", str(tmp_path / "absent.zip"))).stderr
