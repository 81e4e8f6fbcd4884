"""From 0.1.0 to this version: a database with data, and queues full of 0.1.0's messages."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

import deploy
from actors.shared import topics
from actors.shared.body import pack
from actors.shared.database import open_database
from actors.shared.killmail import killmail_hash, parse_killmail
from actors.shared.settings import Settings
from actors.shared.tables import KILLMAILS, LEDGER, UNPUBLISHED
from actors.shared.tables import REJECTED as REJECTED_TABLE
from actors.shared.topics import create_topics
from deploy.migrate import migrate
from tests.deploy.cli.test_dead import dead
from tests.support.dead import Sent, declare, held, put
from tests.support.esi import standin
from tests.support.made import a_body
from tests.support.processes import killstream
from tests.support.servers import empty_servers, fresh_database
from tests.support.tables import feed_of, rows
from tests.support.topics import consumer_of, take
from tests.support.waiting import within

SOURCE: Final = "r2z2:test"
TIMEOUT_S: Final = 60
AGO_S: Final = 3600.0

PUBLISHED, STORED = 1, 2
"""Killmails that 0.1.0 has stored; the ledger has them no more."""
READY, AGAIN, DELAYED, DEAD = 3, 1, 4, 5
"""Killmails that 0.1.0 was to store."""


@pytest.mark.service
async def test_version_0_1_0_is_upgraded_with_full_queues(tmp_path: Path) -> None:
    async with empty_servers() as servers, fresh_database() as url, standin() as upstream:
        settings = servers.model_copy(update={"database_url": url, "esi_url": upstream.url})
        played = [upstream.playback.dataset.killmails[number] for number in (0, 1)]
        fetched = [(one.killmail_id, one.killmail_hash) for one in played]
        await old_database(settings, positions=range(3, 12))
        fill_queues(settings, fetched)

        await migrate(settings)
        await create_topics(settings)
        async with (
            open_database(settings) as database,
            killstream("actors", settings=settings, log=tmp_path / "actors.log"),
            consumer_of(topics.STORED, settings) as stored,
        ):
            await until_ledger_is(database, {5, 9, 11})
            done = await dead(settings, "retry", "--all")
            assert (done.exit_code, done.stdout) == (0, "retried 3 of 3\n"), done.output
            await until_ledger_is(database, set())

            new = {READY, DELAYED, DEAD, *(killmail_id for killmail_id, _ in fetched)}
            feed = await feed_of(database)
            assert [sequence for sequence, _, _ in feed] == list(range(1, 3 + len(new)))
            assert [row[1:] for row in feed[:2]] == [(1, "added"), (2, "added")]
            assert sorted(row[1:] for row in feed[2:]) == [(one, "added") for one in sorted(new)]
            assert len(await rows(database, KILLMAILS)) == 2 + len(new)
            published = [msgspec.json.decode(m.value) for m in await take(stored, 1 + len(new))]
            assert {one["killmail_id"] for one in published} == {STORED} | new
            assert await rows(database, UNPUBLISHED) == []
            rejected = {row["reason"]: row for row in await rows(database, REJECTED_TABLE)}
            assert set(rejected) == {"refused before", "ready", "dead"}
        for queue in ("database", "esi"):
            for name in (queue, f"{queue}.DQ", f"{queue}.XQ"):
                assert held(settings, name) == [], name


async def until_ledger_is(database: AsyncEngine, positions: set[int]) -> None:
    found: set[int] = set()
    async with within(TIMEOUT_S, lambda: f"the ledger has {found}, not {positions}"):
        while (found := {row["position"] for row in await rows(database, LEDGER)}) != positions:
            await asyncio.sleep(0.1)


def fill_queues(settings: Settings, fetched: Sequence[tuple[int, str]]) -> None:
    """Put messages where 0.1.0 had them."""
    declare(settings)
    (one, one_hash), (other, other_hash) = fetched
    put(
        settings,
        "database",
        [
            a_message("keep", [reference(READY, position=3)]),
            a_message("keep", [reference(AGAIN, position=4)]),
            a_message("reject", [rejection("ready", position=6)]),
            a_message("sweep"),
        ],
    )
    waits = {"eta": now_ms() + 1_000, "retries": 1, "traceback": "T\nOSError: x"}
    delayed = a_message("keep", [reference(DELAYED, position=7)], queue="database.DQ", **waits)
    put(settings, "database.DQ", [delayed])
    gave_up: dict[str, Any] = {
        "retries": 11,
        "traceback": 'T\n  File "a", line 1, in a\nOSError: x',
    }
    put(
        settings,
        "database.XQ",
        [
            a_message("keep", [reference(DEAD, position=5)], **gave_up),
            a_message("reject", [rejection("dead", position=9)], **gave_up),
        ],
    )
    put(settings, "esi", [a_message("fetch", [bodiless(one, one_hash, 8)], queue="esi")])
    refused_once = a_message("fetch", [bodiless(one, one_hash, 10)], 1, queue="esi.DQ", eta=1)
    put(settings, "esi.DQ", [refused_once])
    put(settings, "esi.XQ", [a_message("fetch", [bodiless(other, other_hash, 11)], queue="esi")])


def a_message(actor: str, *arguments: Any, queue: str = "database", **options: Any) -> Sent:
    """Write a message as 0.1.0 does."""
    return {
        "queue_name": queue,
        "actor_name": actor,
        "args": arguments,
        "kwargs": {},
        "options": {"broker_priority": 9} | options,
        "message_id": f"{actor}-{queue}-{len(options)}",
        "message_timestamp": now_ms() - 60_000,
    }


def now_ms() -> int:
    return int(time.time() * 1000)


def reference(killmail_id: int, position: int) -> bytes:
    """Write a reference with its body as 0.1.0 does."""
    body = a_body(killmail_id)
    hashed = killmail_hash(parse_killmail(body))
    return bodiless(killmail_id, hashed, position)[:-1] + b',"body":' + body + b"}"


def bodiless(killmail_id: int, hashed: str, position: int) -> bytes:
    return (
        f'{{"v":1,"source":"{SOURCE}","position":{position},"as_of":1714564900.0,'
        f'"killmail_id":{killmail_id},"hash":"{hashed}"}}'
    ).encode()


def rejection(reason: str, position: int) -> bytes:
    """Write what 0.1.0 refused as 0.1.0 does."""
    return (
        f'{{"reason":"{reason}","value":"x","source":"{SOURCE}","position":{position},'
        '"killmail_id":null,"v":1}'
    ).encode()


async def old_database(settings: Settings, positions: Sequence[int]) -> None:
    """Make 0.1.0's database: two killmails, one not published, a rejected one, a ledger."""
    config = Config()
    folder = Path(deploy.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))

    def to_0001(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")

    async with open_database(settings) as engine, engine.begin() as connection:
        await connection.run_sync(to_0001)
    connected = await asyncpg.connect(settings.database_url.replace("+asyncpg", ""))
    now = datetime.now(UTC)
    then = datetime.fromtimestamp(now.timestamp() - AGO_S, UTC)
    try:
        for sequence, killmail_id in enumerate((PUBLISHED, STORED), 1):
            await store(connected, killmail_id, then)
            published_at = then if killmail_id == PUBLISHED else None
            await connected.execute(
                "INSERT INTO feed VALUES ($1, $2, 'added', $3, $4)",
                sequence,
                killmail_id,
                then,
                published_at,
            )
        await connected.execute("UPDATE feed_counter SET last_sequence = 2")
        await connected.execute("INSERT INTO cursors VALUES ($1, 11, $2)", SOURCE, then)
        await connected.execute(
            "INSERT INTO rejected VALUES ('0', 'refused before', $1, $2)",
            rejection("refused before", 0),
            then,
        )
        await connected.executemany(
            "INSERT INTO ledger VALUES ($1, $2, NULL, $3)",
            [(SOURCE, position, then) for position in positions],
        )
    finally:
        await connected.close()


async def store(connected: Any, killmail_id: int, then: datetime) -> None:
    body = a_body(killmail_id)
    killmail = parse_killmail(body)
    await connected.execute(
        "INSERT INTO killmails (killmail_id, killmail_hash, killmail_time, solar_system_id,"
        " victim_ship_type_id, victim_damage_taken, attacker_count, body, as_of)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        killmail_id,
        killmail_hash(killmail),
        killmail.killmail_time,
        killmail.solar_system_id,
        killmail.victim.ship_type_id,
        killmail.victim.damage_taken,
        len(killmail.attackers),
        pack(body),
        then,
    )
    await connected.execute(
        "INSERT INTO attackers (killmail_id, ordinal, damage_done, final_blow, security_status)"
        " VALUES ($1, 0, 100, true, 0.5)",
        killmail_id,
    )
