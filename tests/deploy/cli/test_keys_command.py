"""`killstream keys rotate`, on the configured database."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner, Result

from actors.shared.settings import PREFIX, Settings, settings
from actors.shared.tables import TOKENS
from actors.users.vault import Vault, open_vault
from deploy.cli import app

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
TOKEN = "a.refresh.token"


def vault(*keys: str) -> Vault:
    return open_vault(Settings(token_keys=SecretStr(",".join(keys))))


async def rotate(monkeypatch: pytest.MonkeyPatch, *keys: str) -> Result:
    monkeypatch.setenv(f"{PREFIX}TOKEN_KEYS", ",".join(keys))
    settings.cache_clear()
    return await asyncio.to_thread(CliRunner().invoke, app, ["keys", "rotate"])


async def test_tokens_are_encrypted_with_the_newest_key(
    database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    encrypted = vault(OLD).encrypt(TOKEN)
    async with database.begin() as connection:
        await connection.execute(
            insert(TOKENS).values(
                character_id=1,
                access_token=encrypted,
                refresh_token=encrypted,
                updated_at=datetime.now(UTC),
            )
        )
    for _ in range(2):  # safe to run again
        done = await rotate(monkeypatch, NEW, OLD)
        assert (done.exit_code, done.stdout) == (
            0,
            "the tokens of 1 characters are encrypted with the newest key\n",
        )
    async with database.connect() as connection:
        row = (await connection.execute(select(TOKENS))).one()
    assert {vault(NEW).decrypt(row.access_token), vault(NEW).decrypt(row.refresh_token)} == {TOKEN}
    assert (await rotate(monkeypatch, OLD)).exit_code == 2, "the key of the tokens is missing"
    done = await rotate(monkeypatch, "")
    assert done.exit_code == 2
    assert "KILLSTREAM_TOKEN_KEYS" in done.output


def test_a_database_that_is_not_there_is_named_and_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{PREFIX}DATA_DIR", str(tmp_path))
    monkeypatch.setattr("deploy.cli.process.set_up_logs", lambda _: None)
    done = asyncio.run(rotate(monkeypatch, NEW))
    assert done.exit_code == 1
    assert "no database in" in done.output
    assert list(tmp_path.iterdir()) == []
    settings.cache_clear()
