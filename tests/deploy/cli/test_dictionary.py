"""`killstream dictionary` trains and lists, and says why it can't."""

import asyncio
import json

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner, Result

from actors.killmails import dictionary
from actors.killmails.persist import read, store
from actors.killmails.recompress import recompress
from actors.shared.reference import encode_reference
from deploy.cli import app
from tests.support.made import a_body, a_reference, many_attackers

COUNT = 100


async def run(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["dictionary", *arguments])


async def test_a_dictionary_is_trained_and_listed(
    database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "none yet" in (await run("list")).stdout
    refused = await run("train")
    assert (refused.exit_code, "1,000 are needed" in refused.stderr) == (1, True)
    bodies = [a_body(n, attackers=many_attackers(n % 9)) for n in range(1, COUNT + 1)]
    references = [encode_reference(a_reference(body, n)) for n, body in enumerate(bodies)]
    await store(database, read(references)[0])
    monkeypatch.setattr(dictionary, "LEAST_SAMPLES", COUNT)
    monkeypatch.setattr(dictionary, "DICTIONARY_BYTES", 2_048)
    trained = await run("train")
    assert trained.stdout.startswith("version 1, from 90 killmails: others take ")
    assert "recompressed up to killmail 0" in (await run("list")).stdout
    await recompress(database)
    (listed,) = json.loads((await run("list", "--json")).stdout)
    assert (listed["version"], listed["killmails"], listed["recompressed_to"]) == (1, 90, None)
    assert 0 < listed["bytes"] <= 2_048
