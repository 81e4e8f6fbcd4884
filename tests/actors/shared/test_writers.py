"""On SQLite a bulk write lets others write first, whichever process they are in."""

import asyncio
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared import writers
from actors.shared.database import open_database, reading
from actors.shared.settings import Settings
from actors.shared.writers import let_others_write
from tests.support.servers import ROOT

WRITER = """
import asyncio, sys
from pathlib import Path
from sqlalchemy import text
from actors.shared.database import open_database
from actors.shared.settings import Settings

async def main():
    async with open_database(Settings(data_dir=Path(sys.argv[1]))) as database:
        async with database.begin() as connection:
            await connection.execute(text("SELECT 1"))
            print("writes", flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    print("ended", flush=True)

asyncio.run(main())
"""


async def test_a_bulk_write_waits_until_another_process_has_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "MOST_S", 30.0)
    async with open_database(Settings(data_dir=tmp_path)) as database:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, str(tmp_path),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
        )  # fmt: skip
        assert process.stdout
        assert await process.stdout.readline() == b"writes\n"
        waiting = asyncio.create_task(let_others_write(database))
        await asyncio.sleep(4 * writers.QUIET_S)
        assert not waiting.done()
        await process.communicate(b"\n")
        async with asyncio.timeout(10):
            await waiting


async def test_a_bulk_write_waits_for_those_that_wait_themselves(sqlite: AsyncEngine) -> None:
    """So who polls for SQLite's lock gets it before the next transaction of the bulk write."""
    order: list[str] = []

    async def write() -> None:
        async with sqlite.begin() as connection:
            await connection.execute(text("SELECT 1"))
            order.append("other")

    async with sqlite.begin():
        other = asyncio.create_task(write())
        await asyncio.sleep(0.3)  # it polls now
    await let_others_write(sqlite)
    order.append("bulk")
    await other
    assert order == ["other", "bulk"]


async def test_a_bulk_write_goes_on_at_last(
    sqlite: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "MOST_S", 0.2)
    async with sqlite.begin():
        began_s = time.monotonic()
        await let_others_write(sqlite)
        assert 0.2 <= time.monotonic() - began_s < 5


async def test_who_reads_holds_nothing_up(
    sqlite: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "MOST_S", 30.0)
    async with reading(sqlite) as connection, asyncio.timeout(10):
        await connection.execute(text("SELECT 1"))
        await let_others_write(sqlite)


@pytest.mark.service
async def test_on_postgresql_nobody_waits(postgresql: AsyncEngine) -> None:
    async with postgresql.begin(), asyncio.timeout(0.5):
        await let_others_write(postgresql)
