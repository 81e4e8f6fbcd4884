"""`workerStatus`: what the queues, the poller and the scheduled work do, as clients see it."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from actors.shared.database import open_database
from actors.shared.heartbeat import Heartbeat, QueueBeat, beating
from actors.shared.pauses import pause
from actors.shared.queues import Queue
from actors.shared.settings import Settings
from actors.shared.tables import USERS
from tests.api.gateway import Writer, connect, query, serve
from tests.support.dead import a_message, declare, put
from tests.support.processes import killstream
from tests.support.servers import empty_servers
from tests.support.users import a_user

QUERIES = (
    "query { workerStatus { queueName messageCount consumerCount } }",
    "query { workerStatus { name status killmailsProcessed uptime } }",
    "query { workerStatus { isRunning lastSync totalUsers lastSyncDuration } }",
)
ALL = """
  name kind status isRunning paused pausedAgeS queueName messageCount ready unacked delayed
  dead consumerCount rate oldestAgeS killmailsProcessed
  uptime lastRun lastSync totalUsers lastSyncDuration
"""
NAMES = [queue.value for queue in Queue]
SYNCED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


async def status(client: aiohttp.ClientSession, fields: str = ALL) -> dict[str, Any]:
    answer = await query(client, f"{{ workerStatus {{ name {fields} }} }}")
    assert "errors" not in answer, answer
    return {entry["name"]: entry for entry in answer["data"]["workerStatus"]}


async def test_in_one_process_the_parts_are_known_without_servers(
    client: aiohttp.ClientSession, writer: Writer, settings: Settings
) -> None:
    async with writer.database.begin() as connection:
        synced = {"last_killmail_sync_at": SYNCED_AT, "last_sync_duration_ms": 1500}
        await connection.execute(USERS.insert(), [a_user(1, **synced)])
        await connection.execute(USERS.insert(), [a_user(2)])
    for document in QUERIES:
        answer = await query(client, document)
        assert "errors" not in answer
        assert len(answer["data"]["workerStatus"]) == len(NAMES) + 1
    began_at = datetime.now(UTC) - timedelta(seconds=100)
    beat = QueueBeat(unacked=2, oldest_age_s=7.0, processed=9, killmails=30, ready=5)
    actors = Heartbeat("actors", "host", began_at, {"database": beat})
    streams = Heartbeat("streams", "host", began_at, {}, True, 40, {"sweep": began_at}, ["sweep"])
    async with beating(settings, lambda: actors), beating(settings, lambda: streams):
        async with asyncio.timeout(10):
            while not (shown := await status(client))["database"]["isRunning"]:
                await asyncio.sleep(0.1)
    database = shown["database"]
    assert 100 <= database.pop("uptime") < 110
    assert 7 <= database.pop("oldestAgeS") < 17
    assert database.pop("rate") in (None, 0.0)  # nothing ends; known from the second heartbeat on
    assert database == {
        "name": "database",
        "kind": "queue",
        "status": "running",
        "isRunning": True,
        "paused": False,
        "pausedAgeS": None,
        "queueName": "database",
        "messageCount": 7,
        "ready": 5,
        "unacked": 2,
        "delayed": None,
        "dead": 0,
        "consumerCount": 1,
        "killmailsProcessed": 30,
        "lastRun": None,
        "lastSync": "2026-01-02T03:04:05Z",
        "totalUsers": 2,
        "lastSyncDuration": 1.5,
    }
    assert list(shown) == [*NAMES, "poller", "sweep"]
    assert shown["esi"]["status"] == "unknown"
    assert (shown["poller"]["status"], shown["poller"]["killmailsProcessed"]) == ("running", 40)
    assert (shown["sweep"]["status"], shown["sweep"]["kind"]) == ("paused", "scheduled")


async def test_updates_come_when_something_has_changed(
    client: aiohttp.ClientSession, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.workers.resolvers.UPDATE_S", 0.05)
    monkeypatch.setattr("api.workers.state.FRESH_S", 0.05)
    async with connect(client) as connection:
        document = "subscription { workerStatusUpdates { name paused totalUsers } }"
        await connection.subscribe(document)
        first = (await connection.next())["workerStatusUpdates"]
        assert [entry["name"] for entry in first] == [*NAMES, "poller"]
        await pause(writer.database, ["esi"])
        second = (await connection.next())["workerStatusUpdates"]
        assert [entry["name"] for entry in second if entry["paused"]] == ["esi"]
        await pause(writer.database, ["source"])
        third = (await connection.next())["workerStatusUpdates"]
        assert [entry["name"] for entry in third if entry["paused"]] == ["esi", "poller"]


async def test_passing_time_alone_makes_no_update(
    client: aiohttp.ClientSession,
    writer: Writer,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.workers.resolvers.UPDATE_S", 0.05)
    monkeypatch.setattr("api.workers.state.FRESH_S", 0.02)
    began_at = datetime.now(UTC)

    def describe() -> Heartbeat:
        age_s = (datetime.now(UTC) - began_at).total_seconds()
        beat = QueueBeat(unacked=1, oldest_age_s=age_s, processed=0, killmails=0, ready=0)
        return Heartbeat("actors", "host", began_at, {"esi": beat})

    async def ages() -> list[float]:
        esi = (await status(client))["esi"]
        return [esi[name] for name in ("uptime", "oldestAgeS", "pausedAgeS")]

    await pause(writer.database, ["esi"])
    async with beating(settings, describe), connect(client) as connection, asyncio.timeout(20):
        while (await status(client))["esi"]["rate"] is None:  # the last fact to become known
            await asyncio.sleep(0.05)
        document = "subscription { workerStatusUpdates { name paused uptime } }"
        await connection.subscribe(document)
        await connection.next()
        before = await ages()
        while min(now - then for now, then in zip(await ages(), before, strict=True)) < 0.5:
            await asyncio.sleep(0.05)
        await pause(writer.database, ["database"])
        second = (await connection.next())["workerStatusUpdates"]
    assert {entry["name"] for entry in second if entry["paused"]} == {"esi", "database"}


@pytest.mark.service
async def test_processes_elsewhere_are_known_by_their_heartbeats(tmp_path: Path) -> None:
    async with empty_servers() as servers, open_database(servers) as database:
        settings = servers.model_copy(
            update={"esi_url": "http://127.0.0.1:9", "source": "none", "namespace": ""}
        )
        declare(settings)
        await pause(database, ["esi"])
        put(settings, "esi", [a_message("1", queue_name="esi"), a_message("2", queue_name="esi")])
        put(settings, "esi.XQ", [a_message("dead")])
        async with (
            serve(settings) as address,
            aiohttp.ClientSession(address) as client,
        ):
            assert (await status(client))["database"]["status"] == "stopped"
            log = tmp_path / "streams.log"
            async with (
                killstream("actors", settings=settings, log=tmp_path / "actors.log") as actors,
                killstream("streams", settings=settings, log=log),
            ):
                async with asyncio.timeout(60):
                    while (
                        len(shown := await status(client)) < len(NAMES) + 3
                        or not (shown["database"]["uptime"])
                    ):
                        await asyncio.sleep(0.2)
                for document in QUERIES:
                    assert "errors" not in await query(client, document)
                esi, running = shown["esi"], shown["database"]
                assert (esi["status"], esi["messageCount"], esi["dead"]) == ("paused", 2, 1)
                assert esi["consumerCount"] == 0
                assert (running["status"], running["consumerCount"]) == ("running", 1)
                assert shown["poller"]["status"] == "stopped"
                assert shown["sweep_unpublished"]["status"] == "running"
                await actors.stop()  # says that it ends
                async with asyncio.timeout(10):
                    while (shown := await status(client))["database"]["uptime"]:
                        await asyncio.sleep(0.2)
                assert shown["database"]["status"] == "stopped"
