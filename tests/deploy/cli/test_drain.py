"""`killstream drain` and `reset queues`, on a running pipeline and on real queues."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner, Result

from actors.shared.database import open_database
from actors.shared.errors import ServerUnavailable
from actors.shared.pauses import INTAKE, read_pauses
from actors.shared.settings import Settings
from actors.shared.tables import LEDGER
from deploy import draining
from deploy.cli import app
from deploy.purge import purge
from deploy.queue_report import read_queues
from deploy.standin.server import StandinOptions, start_standin
from streams.ledger import next_due_at
from tests.support.dead import a_message, declare, held, put
from tests.support.pipeline import pipeline
from tests.support.processes import KILLSTREAM, environment
from tests.support.servers import empty_servers
from tests.support.tables import receive
from tests.support.terminal import CTRL_C, in_terminal


async def command(settings: Settings, *arguments: str, typed: str | None = None) -> Result:
    """Run a command in this process, on these settings."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("cli.on_database", "cli.process", "cli.reset"):
            patch.setattr(f"deploy.{module}.configure", lambda: settings)
        return await asyncio.to_thread(lambda: CliRunner().invoke(app, [*arguments], input=typed))


@pytest.mark.service
async def test_a_drain_takes_nothing_in_and_ends_with_empty_queues_and_ledger(
    tmp_path: Path,
) -> None:
    standin = await start_standin(
        StandinOptions(synthetic=None, seed=1, rate_per_s=20.0, limits=False)
    )
    upstream = {"r2z2_url": standin.url, "esi_url": standin.url, "r2z2_requests_per_s": 1_000.0}
    try:
        async with (
            empty_servers() as servers,
            pipeline(servers, tmp_path, ("actors", "streams"), **upstream) as pipe,
        ):
            await pipe.until(lambda published: published > 20)
            await command(pipe.settings, "pause", "database")
            await _until_queued(pipe.settings)
            done = await command(pipe.settings, "drain", "--timeout", "4s")
            assert done.exit_code == 1, done.output
            assert "not drained after" in done.output
            assert "queue database is paused" in done.output

            await command(pipe.settings, "resume", "database")
            done = await command(pipe.settings, "drain", "--timeout", "1m")
            assert done.exit_code == 0, done.output
            assert "queues and ledger are empty" in done.output
            async with open_database(pipe.settings) as database:
                left = await draining.read_left(pipe.settings, database)
            assert (left.ledger, left.unpublished, left.is_polling) == (0, 0, False)

            finished = await pipe.published()
            await asyncio.sleep(2)  # at 20 per second something would have come
            assert await pipe.published() == finished
            assert (await command(pipe.settings, "drain", "--resume")).exit_code == 0
            await pipe.until(lambda published: published > finished, timeout_s=60)
    finally:
        await standin.stop()


async def defer(database: AsyncEngine) -> None:
    """Make the ledger's next tries late."""
    later = datetime.now(UTC) + timedelta(hours=6)
    async with database.begin() as connection:
        await connection.execute(update(LEDGER).values(next_try_at=later))


async def _until_queued(settings: Settings) -> None:
    """Wait until messages are in the queue that nobody consumes any more."""
    async with asyncio.timeout(30):
        while True:
            report = await read_queues(settings, limit_s=10)
            (queue,) = [one for one in report.queues if one.name == "database"]
            if (queue.ready or 0) >= 5 and queue.consumers == 0:
                return
            await asyncio.sleep(0.1)


@pytest.mark.service
async def test_a_reset_asks_drops_our_messages_alone_and_has_the_ledger_send_them() -> None:
    async with empty_servers() as settings, open_database(settings) as database:
        declare(settings)
        put(settings, "database", [a_message(f"{n}") for n in range(3)])
        put(settings, "esi.DQ", [a_message("delayed", queue_name="esi.DQ")])
        put(settings, "database.XQ", [a_message("dead")])
        later = datetime.now(UTC) + timedelta(hours=6)
        async with database.begin() as connection:
            await connection.execute(
                LEDGER.insert().values(
                    source="r2z2:x",
                    position=1,
                    kind="received",
                    received_at=later - timedelta(hours=9),
                    next_try_at=later,
                )
            )
        for typed in (None, "\n", "yes\n"):
            done = await command(settings, "reset", "queues", typed=typed)
            assert done.exit_code == 1, done.output
        assert "database: 3 messages would be dropped" in done.output
        assert [len(held(settings, name)) for name in ("database", "esi.DQ")] == [3, 1]

        done = await command(settings, "reset", "queues", typed="reset\n")
        assert done.exit_code == 0, done.output
        assert "dropped 3 from database\n" in done.output
        assert "the ledger sends 1 killmails again" in done.output
        for name in ("database", "esi.DQ", "database.XQ"):
            assert held(settings, name) == []
        due_at = await next_due_at(database, "r2z2:x")
        assert due_at is not None
        assert due_at <= datetime.now(UTC)

        put(settings, "esi", [a_message("again")])
        done = await command(settings, "reset", "queues", "--yes")
        assert "dropped 1 from esi\n" in done.output


@pytest.mark.service
async def test_a_reset_that_loses_rabbitmq_has_the_ledger_send_what_it_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lost_after_the_first(settings: Settings) -> Iterator[tuple[str, int]]:
        yield next(purge(settings))
        raise ServerUnavailable("lost RabbitMQ")

    monkeypatch.setattr("deploy.purge.purge", lost_after_the_first)
    async with empty_servers() as settings, open_database(settings) as database:
        declare(settings)
        put(settings, "database", [a_message("dropped")])
        await receive(database, "r2z2:x", [1])
        await defer(database)
        done = await command(settings, "reset", "queues", "--yes")
        assert done.exit_code == 1
        assert "dropped 1 from database\nthe ledger sends 1 killmails again" in done.output
        due_at = await next_due_at(database, "r2z2:x")
        assert due_at
        assert due_at <= datetime.now(UTC)


async def test_a_drain_that_is_interrupted_says_how_to_resume(embedded: Settings) -> None:
    with in_terminal(KILLSTREAM, "drain", env=environment(embedded)) as terminal:
        await asyncio.to_thread(terminal.until, "the gateway didn't answer")
        terminal.type(CTRL_C)
        await asyncio.to_thread(terminal.until_ended)
    assert terminal.process.returncode != 0
    assert "nothing is taken in until `killstream drain --resume`" in terminal.output
    async with open_database(embedded) as database:
        assert list(await read_pauses(database)) == [INTAKE]


async def test_a_reset_needs_rabbitmq(tmp_path: Path) -> None:
    done = await command(Settings(data_dir=tmp_path), "reset", "queues", "--yes")
    assert done.exit_code == 2
