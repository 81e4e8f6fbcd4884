"""`killstream diagnose postgres`, on a real PostgreSQL."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from actors.shared.settings import Settings
from deploy.cli.diagnose import finding
from deploy.cli.diagnose.postgres import postgres_steps
from deploy.migrate import migrate
from deploy.ports import free_port
from tests.deploy.cli.diagnose.support import all_of, failed, steps_of
from tests.support.proxy import open_proxy
from tests.support.servers import fresh_database

pytestmark = pytest.mark.service


@pytest.fixture
async def settings() -> AsyncIterator[Settings]:
    async with fresh_database() as url:
        chosen = Settings(database_url=url)
        await migrate(chosen)
        yield chosen


async def execute(settings: Settings, statement: str) -> None:
    connection = await asyncpg.connect(settings.database_url.replace("+asyncpg", ""))
    await connection.execute(statement)
    await connection.close()


async def test_a_postgresql_that_works_passes_each_step(settings: Settings) -> None:
    found = await all_of(postgres_steps(settings))
    assert steps_of(found) == ["environment", "login", "tables", "writing", "connections"]
    assert found[0].result.startswith("KILLSTREAM_DATABASE_URL=postgresql")
    assert ":***@" in found[0].result
    assert "PostgreSQL 1" in found[1].result


async def test_each_failure_has_its_advice(settings: Settings) -> None:
    async def diagnosed(**changes: str) -> tuple[str, str, str]:
        return failed(await all_of(postgres_steps(Settings(**changes))))  # type: ignore[arg-type]

    step, _, advice = await diagnosed()
    assert (step, "just services" in advice) == ("environment", True)
    url = settings.database_url
    step, _, advice = await diagnosed(database_url=url.replace(":killstream@", ":wrong@"))
    assert (step, "password" in advice) == ("login", True)
    step, _, advice = await diagnosed(database_url=url.replace("killstream_test_", "no"))
    assert (step, "CREATE DATABASE" in advice) == ("login", True)
    away = f"postgresql://a:b@127.0.0.1:{free_port()}/x"
    step, _, advice = await diagnosed(database_url=away)
    assert (step, "firewall" in advice) == ("login", True)
    async with fresh_database() as empty:
        step, _, advice = await diagnosed(database_url=empty)
    assert (step, "killstream migrate" in advice) == ("tables", True)


async def test_a_read_only_server_fails_at_writing(settings: Settings) -> None:
    database = settings.database_url.rpartition("/")[2]
    await execute(settings, f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    step, _, advice = failed(await all_of(postgres_steps(settings)))
    assert (step, "primary" in advice) == ("writing", True)


async def test_a_locked_table_is_reported(settings: Settings) -> None:
    holder = await asyncpg.connect(settings.database_url.replace("+asyncpg", ""))
    try:
        await holder.execute("BEGIN")
        await holder.execute("UPDATE feed_counter SET last_sequence = last_sequence")
        step, _, advice = failed(await all_of(postgres_steps(settings)))
    finally:
        await holder.close()
    assert (step, "pg_stat_activity" in advice) == ("writing", True)


async def test_a_silent_server_fails_within_the_time_limit(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "STEP_S", 1.0)
    async with open_proxy(settings.database_url) as proxy:
        proxy.go_silent()
        silent = Settings(database_url=proxy.url(settings.database_url))
        step, result, _ = failed(await all_of(postgres_steps(silent)))
    assert (step, "answer within" in result) == ("login", True)
