"""`killstream check`: what differs is counted, and the exit code says whether something does."""

import asyncio
import json

import pytest
from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner, Result

from actors.killmails.persist import read, store
from actors.shared.reference import encode_reference
from actors.shared.tables import KILLMAILS, POSTINGS
from deploy.cli import app
from tests.support.made import a_body, a_reference


async def check(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["check", *arguments])


@pytest.fixture
async def stored(database: AsyncEngine) -> AsyncEngine:
    references = [encode_reference(a_reference(a_body(n), n)) for n in range(1, 31)]
    await store(database, read(references)[0])
    return database


async def test_damage_is_counted_repaired_and_gone(stored: AsyncEngine) -> None:
    clean = await check()
    assert clean.stdout.endswith(" killmails were checked\nnothing differs\n")
    assert clean.exit_code == 0
    async with stored.begin() as connection:
        await connection.execute(delete(POSTINGS))
        await connection.execute(update(KILLMAILS).values(attacker_count=7))
    assert (await check("--sample", "5")).exit_code == 1
    damaged = await check("--all", "--json")
    assert damaged.exit_code == 1
    counts = {"postings": 30, "columns": 30, "attackers": 0, "days": 0, "unreadable": 0}
    run = {"killmails": 30, "repaired": False, "skipped_blocks": 0}
    assert json.loads(damaged.stdout) == run | counts
    repaired = await check("--repair")
    assert repaired.exit_code == 0
    assert "30  columns that don't follow from body and zkb block, repaired" in repaired.stdout
    again = await check("--all", "--json")
    assert json.loads(again.stdout) == run | dict.fromkeys(counts, 0)


async def test_restart_without_repair_is_refused(database: AsyncEngine) -> None:
    outcome = await check("--all", "--restart")
    assert (outcome.exit_code, "--restart is for --repair" in outcome.stderr) == (2, True)


async def test_an_empty_database_is_right(database: AsyncEngine) -> None:
    for arguments in ((), ("--all",), ("--repair",)):
        outcome = await check(*arguments)
        assert (outcome.exit_code, "nothing differs" in outcome.stdout) == (0, True)
