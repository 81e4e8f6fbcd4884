"""`killstream status`: on an SQLite file, on servers that are away, and on real ones."""

import asyncio
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pika
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import CommitFailedError
from rich.console import Console

from actors.history.schedule import request_days
from actors.killmails.reject import record_rejections
from actors.shared.database import open_database
from actors.shared.health.facts import (
    DatabaseFacts,
    Embedded,
    KafkaFacts,
    QueueFacts,
    RabbitmqFacts,
    RedisFacts,
    TopicFacts,
    Unreachable,
)
from actors.shared.health.kafka import GROUP
from actors.shared.health.rule import problems_of
from actors.shared.queues import Queue
from actors.shared.rejection import encode_rejection
from actors.shared.settings import PREFIX, Settings
from actors.shared.tables import LEDGER
from actors.shared.topics import RECEIVED, STORED, create_topics
from actors.universe.load import load_from_file
from actors.universe.schedule import postpone_check
from deploy.cli.inspect import inspect
from deploy.cli.status import ago, rows_text, table
from deploy.ports import free_port
from streams.app import make_app
from streams.gaps import record_gaps
from streams.sources.step import Gap
from tests.deploy.cli.conftest import Store
from tests.support.archive import archive_of
from tests.support.ledger import record_positions
from tests.support.servers import empty_servers

KILLSTREAM = Path(sys.executable).with_name("killstream")


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
    environment |= {PREFIX + name.upper(): value for name, value in settings.items()}
    command = [str(KILLSTREAM), "status", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


async def test_embedded_killstream_shows_its_file(embedded: Settings, persist: Store) -> None:
    await persist(3)
    async with open_database(embedded) as database:
        await record_positions(database, "r2z2:test", 96_000_007, received=[96_000_007])
        async with database.begin() as connection:
            await record_rejections(connection, [encode_rejection("[not] a killmail", b"x")])
            gaps = [Gap(95_000_001, 95_000_009, "expired")]
            await record_gaps(connection, "r2z2:test", gaps, datetime.now(UTC))
        await request_days(database, "everef", {date(2015, 1, 1): 5, date(2015, 1, 2): 6})
    facts = await inspect(embedded)
    database_facts = facts.database
    assert isinstance(database_facts, DatabaseFacts)
    assert (database_facts.killmails, database_facts.last_sequence) == (3, 3)
    assert (database_facts.unpublished, database_facts.ledger, database_facts.names) == (3, 1, 0)
    assert [source.position for source in database_facts.sources] == [96_000_007]
    assert [refusal.reason for refusal in database_facts.latest_rejected] == ["[not] a killmail"]
    assert [
        (gap.source, gap.first_position, gap.last_position, gap.reason)
        for gap in database_facts.latest_gaps
    ] == [("r2z2:test", 95_000_001, 95_000_009, "expired")]
    assert database_facts.gaps == 1
    assert database_facts.rejected_oldest_age_s is not None
    assert database_facts.sizes is not None
    assert database_facts.sizes.tables["killmails"].rows == 3
    assert database_facts.last_stored_age_s is not None
    assert timedelta(0) <= datetime.now(UTC) - facts.at < timedelta(minutes=1)
    assert (facts.rabbitmq, facts.kafka, facts.redis) == (Embedded(), Embedded(), Embedded())
    assert problems_of(facts) == []

    console = Console(record=True, width=100)
    console.print(table(facts, [], embedded))
    shown = console.export_text()
    assert "not loaded yet" in shown
    assert "r2z2:test at 96000007" in shown
    assert "[not] a killmail" in shown
    assert "r2z2:test 95000001 to 95000009, expired" in shown
    assert "1, oldest 0 s ago" in shown
    assert "bytes a killmail, and" in shown
    assert "of indexes, 3 rows" in shown
    assert "days waiting: 2" in shown


async def test_the_universe_is_shown_with_its_build_and_the_last_error(
    embedded: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "archive.zip"
    path.write_bytes(archive_of(build=7))
    async with open_database(embedded) as database:
        await load_from_file(database, path)
        await postpone_check(database, "CCP answers 503")
    facts = await inspect(embedded)
    console = Console(record=True, width=150)
    console.print(table(facts, [], embedded))
    shown = console.export_text()
    assert "build 7, loaded 0 s ago, checked never" in shown
    assert "the last check failed: CCP answers 503" in shown


async def test_status_creates_no_database(tmp_path: Path) -> None:
    facts = await inspect(Settings(data_dir=tmp_path / "new"))
    assert isinstance(facts.database, Unreachable)
    assert "killstream up" in facts.database.reason
    assert not (tmp_path / "new").exists()


async def test_a_database_without_tables_is_reported_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "killstream.db").touch()
    facts = await inspect(Settings(data_dir=tmp_path))
    assert isinstance(facts.database, Unreachable)
    assert "killstream migrate" in facts.database.reason


def test_unavailable_servers_are_listed_with_the_reason() -> None:
    port = free_port()
    done = run(
        "--json",
        database_url=f"postgresql+asyncpg://killstream:secret@127.0.0.1:{port}/killstream",
        rabbitmq_url=f"amqp://killstream:secret@127.0.0.1:{port}/killstream",
        kafka_url=f"kafka://127.0.0.1:{port}",
        redis_url=f"redis://:secret@127.0.0.1:{port}/0",
    )
    facts = msgspec.json.decode(done.stdout)
    assert done.returncode == 1
    assert (facts["ok"], facts["status"]) == (False, "down")
    parts = [problem["part"] for problem in facts["problems"]]
    assert parts == ["database", "kafka", "rabbitmq", "redis"]
    for name in ("database", "rabbitmq", "kafka", "redis"):
        assert facts[name]["state"] == "unreachable"
        assert facts[name]["reason"]
    assert done.stderr == ""
    assert "secret" not in done.stdout


async def test_command_shows_a_table(embedded: Settings, persist: Store) -> None:
    await persist(1)
    done = await asyncio.to_thread(run, data_dir=str(embedded.data_dir))
    assert (done.returncode, done.stderr) == (0, "")
    assert "sequence 1" in done.stdout


async def test_stalled_work_is_shown_and_ends_with_code_1(embedded: Settings) -> None:
    async with open_database(embedded) as database, database.begin() as connection:
        received_at = datetime.now(UTC) - timedelta(minutes=10)
        await connection.execute(
            LEDGER.insert().values(
                source="r2z2:test",
                position=7,
                kind="received",
                received_at=received_at,
                next_try_at=received_at,
            )
        )
    done = await asyncio.to_thread(run, data_dir=str(embedded.data_dir))
    assert done.returncode == 1
    assert "degraded" in done.stdout
    assert "stands still" in done.stdout


@pytest.mark.service
async def test_queues_and_topics_of_real_servers_are_counted() -> None:
    async with empty_servers() as settings:
        fresh = await inspect(settings)
        assert isinstance(fresh.rabbitmq, RabbitmqFacts)
        assert fresh.rabbitmq.queues["database"] == QueueFacts(None, None, None)
        assert isinstance(fresh.kafka, KafkaFacts)
        assert fresh.kafka.topics[RECEIVED.name] == TopicFacts(0, 0, 0)
        assert {problem.part for problem in problems_of(fresh)} == {"kafka"}, "topics are missing"

        await create_topics(settings)
        await asyncio.to_thread(fill_queues, settings)
        await fill_topics(settings)
        facts = await inspect(settings)
    assert isinstance(facts.database, DatabaseFacts)
    assert facts.database.last_stored_age_s is None
    assert facts.rabbitmq == RabbitmqFacts(
        {queue.value: QueueFacts(None, None, None) for queue in Queue}
        | {"database": QueueFacts(2, 1, 1, consumers=0)}
    )
    assert isinstance(facts.kafka, KafkaFacts)
    assert facts.kafka.topics[RECEIVED.name] == TopicFacts(RECEIVED.partitions, 10, 7)
    assert facts.kafka.topics[STORED.name] == TopicFacts(STORED.partitions, 1, None)
    assert isinstance(facts.redis, RedisFacts)
    assert facts.redis.version
    assert {problem.part for problem in problems_of(facts)} == {"rabbitmq"}, "no actors run"


def fill_queues(settings: Settings) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(settings.rabbitmq_url))
    channel = connection.channel()
    channel.confirm_delivery()
    for queue, count in {"database": 2, "database.DQ": 1, "database.XQ": 1}.items():
        channel.queue_declare(queue)
        for _ in range(count):
            channel.basic_publish("", queue, b"x")
    connection.close()


async def fill_topics(settings: Settings) -> None:
    """Ten references on one partition, of which the group has read three; and one entry."""
    bootstrap = settings.kafka_bootstrap
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        for _ in range(10):
            await producer.send_and_wait(RECEIVED.name, b"{}", partition=0)
        await producer.send_and_wait(STORED.name, b"{}", partition=0)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=GROUP, enable_auto_commit=False
    )
    async with consumer:
        partition = TopicPartition(RECEIVED.name, 0)
        consumer.assign([partition])
        while True:
            try:
                await consumer.commit({partition: 3})
                return
            except CommitFailedError:  # a process that another test killed is still a member
                await asyncio.sleep(0.1)


def test_group_is_the_streams_own() -> None:
    assert make_app(Settings(kafka_url="kafka://127.0.0.1:9092")).conf.id == GROUP


def test_counts_that_are_estimates_are_shown_as_such() -> None:
    assert rows_text(None) == "-"
    assert rows_text(100_000) == "100,000"
    assert rows_text(95_612_345) == "about 95,600,000"


@pytest.mark.parametrize(
    ("age_s", "said"),
    [(None, "never"), (3.4, "3 s ago"), (600, "10 min ago"), (7200, "2 h ago"), (1e6, "12 d ago")],
)
def test_ages_are_formatted_in_the_largest_unit(age_s: float | None, said: str) -> None:
    assert ago(age_s) == said
