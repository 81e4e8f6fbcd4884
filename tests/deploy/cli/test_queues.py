"""`killstream queues`, `pause` and `resume`, on real servers and a real actors process."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import dramatiq
import msgspec
import pytest
from typer.testing import CliRunner

from actors.broker import make_broker
from actors.shared.health.queues import QueueReport, QueueState, inspect_queues
from actors.shared.heartbeat import Heartbeat, QueueBeat, beating
from actors.shared.settings import Settings
from deploy.cli import app
from deploy.cli.queues import with_rates
from deploy.ports import free_port
from tests.deploy.cli.conftest import Gateway
from tests.support.dead import HOUR_MS, a_message, declare, put
from tests.support.processes import KILLSTREAM, environment, killstream
from tests.support.servers import empty_servers
from tests.support.terminal import CTRL_C, in_terminal

TIMEOUT_S = 60
PROCESSES = 3


@pytest.fixture
async def servers() -> AsyncIterator[Settings]:
    async with empty_servers() as settings:
        chosen = settings.model_copy(update={"esi_url": "http://127.0.0.1:9"})
        declare(chosen)
        yield chosen


async def command(settings: Settings, *arguments: str) -> tuple[int, str]:
    """Run a command in this process, on these settings."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("on_database", "queues"):
            patch.setattr(f"deploy.cli.{module}.configure", lambda: settings)
        done = await asyncio.to_thread(lambda: CliRunner().invoke(app, [*arguments]))
    return done.exit_code, done.output


async def queues_of(settings: Settings) -> dict[str, QueueState]:
    report = await inspect_queues(settings, limit_s=10)
    return {queue.name: queue for queue in report.queues}


async def until(
    settings: Settings, wanted: Callable[[dict[str, QueueState]], bool]
) -> dict[str, QueueState]:
    async with asyncio.timeout(TIMEOUT_S):
        while not wanted(shown := await queues_of(settings)):
            await asyncio.sleep(0.1)
    return shown


@pytest.mark.service
async def test_queues_shows_messages_consumers_rates_and_ages(
    servers: Settings, tmp_path: Path
) -> None:
    assert await command(servers, "pause", "esi") == (
        0,
        "paused: esi; `killstream queues` shows what waits\n",
    )
    put(servers, "esi", [a_message(f"{n}", "gone", queue_name="esi") for n in range(300)])
    put(servers, "database.XQ", [a_message("dead")])
    three = ("actors", f"--processes={PROCESSES}", "--threads=2")
    async with killstream(*three, settings=servers, log=tmp_path / "actors.log"):
        consuming = ("database", "database.DQ", "esi.DQ")
        shown = await until(
            servers,
            lambda queues: (
                bool(queues["esi"].uptime_s)
                and all(queues[name].consumers == PROCESSES for name in consuming)
            ),
        )
        assert shown["esi"].ready == 300
        assert shown["esi"].consumers == shown["esi"].unacked == 0
        assert shown["esi"].paused_age_s is not None
        assert shown["database"].paused_age_s is None
        assert shown["database.XQ"].ready == 1

        with in_terminal(KILLSTREAM, "queues", "--watch", env=environment(servers)) as terminal:
            await asyncio.to_thread(terminal.until, r"esi +│ +300 .*paused for")
            assert (await command(servers, "resume", "esi"))[0] == 0
            await asyncio.to_thread(terminal.until, r"esi\.XQ +│ +300 ")
            await asyncio.to_thread(
                terminal.until, rf"esi +│ +0 │ +0 │ +{PROCESSES} │ +[\d.]+ │ +[1-9][\d.]* "
            )
            terminal.type(CTRL_C)
            await asyncio.to_thread(terminal.until_ended)
        assert terminal.process.returncode == 0
        assert f"{PROCESSES} actors" in terminal.output


@pytest.mark.service
async def test_the_oldest_message_is_known_from_the_process_that_holds_it(
    servers: Settings, tmp_path: Path
) -> None:
    eta_ms = 4_000_000_000_000
    sent_ms = a_message("x")["message_timestamp"] - HOUR_MS
    delayed = a_message(
        "later", queue_name="database.DQ", options={"eta": eta_ms}, message_timestamp=sent_ms
    )
    put(servers, "database.DQ", [delayed])
    async with killstream("actors", settings=servers, log=tmp_path / "actors.log"):
        shown = await until(servers, lambda queues: bool(queues["database.DQ"].oldest_age_s))
        assert shown["database.DQ"].ready == 0
        assert 7200 <= (shown["database.DQ"].oldest_age_s or 0) < 7300
    shown = await until(servers, lambda queues: queues["database.DQ"].ready == 1)
    assert shown["database.DQ"].uptime_s is None  # the process said that it ends


@pytest.mark.service
async def test_the_management_api_knows_the_age_of_a_queue_that_nobody_consumes(
    servers: Settings,
) -> None:
    broker = make_broker(servers)
    try:
        sent = 0

        def has_rate_and_age(queues: dict[str, QueueState]) -> bool:
            """Send one more: the API derives a rate from two of its samples."""
            nonlocal sent
            message: dramatiq.Message[None] = dramatiq.Message(
                queue_name="esi", actor_name="gone", args=(sent,), kwargs={}, options={}
            )
            broker.enqueue(message)
            sent += 1
            return bool(queues["esi"].in_per_s) and queues["esi"].oldest_age_s is not None

        shown = await until(servers, has_rate_and_age)
        assert 0 <= (shown["esi"].oldest_age_s or 0) < 60
        assert (shown["esi"].unacked, shown["esi"].out_per_s) == (0, 0.0)
        away = servers.model_copy(update={"rabbitmq_management_url": "http://127.0.0.1:9"})
        report = await inspect_queues(away, limit_s=10)
        assert "management API" in report.unknown
        esi = report.queue("esi")
        assert (esi.ready, esi.in_per_s, esi.oldest_age_s) == (sent, None, None)
    finally:
        broker.close()


@pytest.mark.service
async def test_a_server_that_is_away_is_named_and_the_rest_is_shown(servers: Settings) -> None:
    away = servers.model_copy(
        update={
            "rabbitmq_url": f"amqp://127.0.0.1:{free_port()}",
            "rabbitmq_management_url": "",
        }
    )
    await command(away, "pause", "database")
    code, output = await command(away, "queues", "--json")
    shown = msgspec.json.decode(output)
    assert (code, list(shown["unknown"])) == (1, ["rabbitmq"])
    assert shown["queues"][0]["name"] == "database"
    assert shown["queues"][0]["ready"] is None
    assert shown["queues"][0]["paused_age_s"] >= 0


async def test_the_queues_of_one_process_are_read_from_its_gateway(
    embedded: Settings, gateway: Gateway
) -> None:
    code, output = await command(embedded, "queues", "--json")
    assert (code, list(msgspec.json.decode(output)["unknown"])) == (1, ["the gateway"])
    beat = QueueBeat(unacked=2, oldest_age_s=7.0, processed=9, killmails=30, ready=5)
    process = Heartbeat("actors", "host", datetime.now(UTC), {"database": beat})
    assert (await command(embedded, "pause", "esi"))[0] == 0
    async with gateway(), beating(embedded, lambda: process):
        code, output = await command(embedded, "queues", "--json")
    assert code == 0
    queues = {queue["name"]: queue for queue in msgspec.json.decode(output)["queues"]}
    assert (queues["database"]["ready"], queues["database"]["unacked"]) == (5, 2)
    assert queues["esi"]["paused_age_s"] >= 0


async def test_a_queue_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    code, output = await command(Settings(data_dir=tmp_path), "pause", "esi", "celery")
    assert code == 2
    assert re.search("celery.*is not one of", output)


def test_what_comes_in_is_what_goes_out_and_what_remains() -> None:
    def report(ready: int) -> QueueReport:
        state = QueueState("esi", ready, 0, 1, None, 30.0, None, 0, None, None)
        return QueueReport([state], [], None)

    [state] = with_rates(report(150), report(100), 5.0).queues
    assert state.in_per_s == 40.0
