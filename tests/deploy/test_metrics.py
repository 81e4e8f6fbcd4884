"""`/metrics` of `killstream streams` and `killstream actors`, as Prometheus scrapes it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from sqlalchemy import insert

from actors.broker import DATABASE_QUEUE
from actors.shared.database import open_database
from actors.shared.pauses import INTAKE, pause
from actors.shared.settings import Settings
from actors.shared.tables import CURSORS, USERS
from deploy.backlog_metrics import BacklogCollector
from deploy.metrics import serving_metrics
from deploy.ports import free_port
from deploy.process_health import ProcessHealth
from deploy.server_probes import PROBE_S, ServerProbes, probe_backlogs
from tests.support.dead import a_message, put
from tests.support.esi import standin
from tests.support.processes import killstream
from tests.support.proxy import open_proxy
from tests.support.servers import empty_servers
from tests.support.users import a_user
from tests.support.waiting import within

pytestmark = pytest.mark.service

KILLMAILS = 10
LOST = "login_required"
TIMEOUT_S = 60

Samples = dict[str, float]


@pytest.fixture
async def settings() -> AsyncIterator[Settings]:
    async with empty_servers() as servers, standin(KILLMAILS, limits=False) as upstream:
        changes = {
            "r2z2_url": upstream.url,
            "r2z2_requests_per_s": 1_000.0,
            "esi_url": upstream.url,
            "metrics_port": free_port(),
        }
        yield servers.model_copy(update=changes)


async def scraped(settings: Settings) -> str:
    """Ask as Prometheus does; waits for the process to serve."""
    async with aiohttp.ClientSession() as http, asyncio.timeout(TIMEOUT_S):
        while True:
            try:
                async with http.get(f"http://127.0.0.1:{settings.metrics_port}/metrics") as answer:
                    assert answer.status == 200
                    return await answer.text()
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.1)


async def samples(settings: Settings) -> Samples:
    lines = (await scraped(settings)).splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


async def until(settings: Settings, name: str, least: float) -> Samples:
    found: Samples = {}
    async with within(TIMEOUT_S, lambda: f"{name} is {found.get(name)}"):
        while (found := await samples(settings)).get(name, 0) < least:
            await asyncio.sleep(0.2)
    return found


@contextmanager
def serving_backlogs(settings: Settings) -> Iterator[None]:
    servers = ServerProbes(settings, probe_backlogs)
    with serving_metrics(settings, ProcessHealth(servers), BacklogCollector(servers)):
        yield


async def until_exactly(settings: Settings, name: str, value: float) -> None:
    found: Samples = {}
    async with within(TIMEOUT_S, lambda: f"{name} is {found.get(name)}"):
        while (found := await samples(settings)).get(name) != value:
            await asyncio.sleep(0.2)


async def test_each_process_serves_its_counts_and_the_backlogs(
    settings: Settings, tmp_path: Path
) -> None:
    actors = settings.model_copy(update={"metrics_port": free_port()})
    command = ("actors", "--processes", "2", "--threads", "2")
    async with (
        killstream("streams", settings=settings, log=tmp_path / "streams.log"),
        killstream(*command, settings=actors, log=tmp_path / "actors.log"),
    ):
        await until(settings, "killstream_feed_sequence", KILLMAILS)
        received = await until(settings, "killstream_unpublished", 0)
        assert sum_of(received, "killstream_killmails_received_total") == KILLMAILS
        assert received["killstream_unpublished"] == received["killstream_ledger"] == 0
        assert received['killstream_topic_lag{topic="killmails.received"}'] == 0
        await until_exactly(
            settings, 'killstream_queue_messages{queue="database",state="ready"}', 0
        )
        assert received['killstream_queue_consumers{queue="database"}'] >= 1
        assert received['killstream_queue_oldest_age_seconds{queue="database"}'] < TIMEOUT_S
        assert sum_of(received, "killstream_source_lag") == 0
        assert sum_of(received, "killstream_source_checked_age_seconds") > 0
        assert received["killstream_unpublished_oldest_age_seconds"] == 0
        for server in ("database", "rabbitmq", "kafka", "redis"):
            assert received[f'killstream_server_up{{server="{server}"}}'] == 1

        stored = await until(actors, "killstream_killmails_published_total", KILLMAILS)
        assert stored['killstream_killmails_stored_total{kind="added",origin="live"}'] == KILLMAILS
        for stage in ("stored", "published"):
            latency = f'killstream_stage_latency_seconds_%s{{origin="live",stage="{stage}"}}'
            assert stored[latency % "count"] == KILLMAILS
            assert 0 < stored[latency % "sum"] < KILLMAILS * TIMEOUT_S
        assert stored['killstream_queue_wait_seconds_count{queue="database"}'] >= 1
        assert stored['killstream_message_duration_seconds_count{actor="persist"}'] >= 1
        put(settings, DATABASE_QUEUE, [a_message("wrong", "persist", args=[])] * 4)
        broken = await until(actors, "killstream_errors_total", 4)
        assert broken['killstream_killmails_stored_total{kind="added",origin="live"}'] == KILLMAILS
        put(settings, "database.XQ", [a_message("dead")])
        await until(settings, 'killstream_queue_messages{queue="database",state="dead"}', 1)
        assert sum_of(await samples(settings), "killstream_queue_paused") == 0
        async with open_database(settings) as database:
            await pause(database, [INTAKE])
        shown = await until(settings, 'killstream_queue_paused{queue="source"}', 1)
        assert sum_of(shown, "killstream_queue_paused") == 1


async def test_a_silent_server_is_shown_and_does_not_delay_a_scrape(settings: Settings) -> None:
    async with open_proxy(settings.database_url) as proxy:
        url = proxy.url(settings.database_url)
        behind = settings.model_copy(update={"database_url": url})
        with serving_backlogs(behind):
            assert (await samples(behind))["killstream_ledger"] == 0
        proxy.go_silent()
        with serving_backlogs(behind):
            async with asyncio.timeout(2 * PROBE_S):
                found = await samples(behind)
    assert found['killstream_server_up{server="database"}'] == 0
    assert found['killstream_server_up{server="redis"}'] == 1
    assert "killstream_ledger" not in found


async def test_lag_and_users_are_those_of_the_database(settings: Settings) -> None:
    now = datetime.now(UTC)
    async with open_database(settings) as database, database.begin() as connection:
        cursor = {"source": "r2z2:host", "position": 90, "tip": 97}
        await connection.execute(insert(CURSORS).values(**cursor, updated_at=now, checked_at=now))
        for character_id, state, due_in in ((1, "active", 5), (2, "active", -20), (3, LOST, -20)):
            due_at = now + timedelta(minutes=due_in)
            await connection.execute(
                insert(USERS).values(a_user(character_id, state=state, next_sync_at=due_at))
            )
    with serving_backlogs(settings):
        found = await samples(settings)
    assert found['killstream_source_lag{source="r2z2:host"}'] == 7
    assert 0 <= found['killstream_source_age_seconds{source="r2z2:host"}'] < TIMEOUT_S
    assert found['killstream_users{state="active"}'] == 2
    assert found['killstream_users{state="login_required"}'] == 1
    assert found["killstream_syncs_overdue"] == 1


@pytest.mark.parametrize("command", [("streams",), ("actors",), ("actors", "--processes=2")])
async def test_a_taken_port_ends_the_start(
    settings: Settings, tmp_path: Path, command: tuple[str, ...]
) -> None:
    with socket.create_server(("127.0.0.1", settings.metrics_port)):
        log = tmp_path / "log"
        async with (
            killstream(*command, settings=settings, log=log) as started,
            asyncio.timeout(TIMEOUT_S),
        ):
            assert await started.process.wait() == 2
    (said,) = [line for line in log.read_text().splitlines() if line.startswith("killstream: ")]
    assert f"port {settings.metrics_port}" in said
    assert "KILLSTREAM_METRICS_PORT" in said
    assert "Traceback" not in log.read_text()


def sum_of(found: Samples, name: str) -> float:
    return sum(value for sample, value in found.items() if sample.startswith(name))
