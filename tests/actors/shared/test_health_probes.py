"""Probes of real servers: facts while they answer, the reason when they don't, always in time."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from actors.shared.database import open_database
from actors.shared.health import probe as probe_module
from actors.shared.health.database import probe_database
from actors.shared.health.facts import (
    DatabaseFacts,
    Embedded,
    KafkaFacts,
    RabbitmqFacts,
    RedisFacts,
    TopicFacts,
    Unreachable,
)
from actors.shared.health.kafka import probe_kafka
from actors.shared.health.probe import within
from actors.shared.health.rabbitmq import probe_rabbitmq
from actors.shared.health.redis import probe_redis
from actors.shared.settings import Settings
from actors.shared.tables import (
    COMPLETENESS_DAYS,
    CURSORS,
    FEED,
    FEED_COUNTER,
    LEDGER,
    UNOBTAINABLE,
    UNPUBLISHED,
)
from actors.shared.topics import RECEIVED, create_topics
from deploy.eventlog import open_event_log
from deploy.migrate import migrate
from deploy.ports import free_port
from tests.support.proxy import open_proxy
from tests.support.servers import fresh_database, server_urls

LIMIT_S = 1.0
Probe = Callable[..., Awaitable[Any]]
SERVERS: dict[str, tuple[Probe, type]] = {
    "database_url": (probe_database, DatabaseFacts),
    "rabbitmq_url": (probe_rabbitmq, RabbitmqFacts),
    "kafka_url": (probe_kafka, KafkaFacts),
    "redis_url": (probe_redis, RedisFacts),
}


async def test_the_audit_has_an_age_and_what_may_be_had_is_counted(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    await migrate(settings)
    now = datetime.now(UTC)
    entry = {"sequence": 1, "killmail_id": 1, "kind": "added", "stored_at": now - timedelta(days=9)}
    async with open_database(settings) as database, database.begin() as connection:
        await connection.execute(FEED.insert().values(entry))
    before = await probe_database(settings, limit_s=10)
    assert isinstance(before, DatabaseFacts)
    assert before.audit_age_s == pytest.approx(9 * 86_400, abs=30)  # never, since the feed began
    day = now.date() - timedelta(days=1)
    days = (
        # day, state, missing, hours since it was checked
        (day, "incomplete", 3, 1),
        (day - timedelta(days=1), "repairing", 5, 30),
        (day - timedelta(days=2), "not_imported", 700, 900),
        (day - timedelta(days=90), "complete", 0, 2_000),
    )
    nobodys = {"killmail_hash": "a" * 40, "reason": "404", "recorded_at": now}
    async with open_database(settings) as database, database.begin() as connection:
        for one, state, missing, hours in days:
            await connection.execute(
                COMPLETENESS_DAYS.insert().values(
                    day=one,
                    upstream_total=1_000,
                    have=0,
                    missing=missing,
                    state=state,
                    checked_at=now - timedelta(hours=hours),
                    next_check_at=now,
                )
            )
        for killmail_id, of_day in enumerate((day, day, day - timedelta(days=2)), 1):
            row = {"killmail_id": killmail_id, "day": of_day, **nobodys}
            await connection.execute(UNOBTAINABLE.insert().values(row))
    facts = await probe_database(settings, limit_s=10)
    assert isinstance(facts, DatabaseFacts)
    assert facts.audit_age_s == pytest.approx(30 * 3_600, abs=30)
    assert facts.obtainable == 3 + 5 - 2


async def test_what_waits_has_its_age(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    await migrate(settings)
    now = datetime.now(UTC)
    async with open_database(settings) as database, database.begin() as connection:
        for sequence in (1, 2):
            await connection.execute(
                FEED.insert().values(
                    sequence=sequence,
                    killmail_id=sequence,
                    kind="added",
                    stored_at=now - timedelta(seconds=1000 - 100 * sequence),
                )
            )
        await connection.execute(UNPUBLISHED.insert().values(sequence=2))
        await connection.execute(FEED_COUNTER.update().values(last_sequence=2))
        for position, kind, age_s, refusals in (
            (7, "hole", 5000, 0),
            (8, "received", 500, 0),
            (9, "received", 1, 0),
            (10, "received", 9000, 3),
        ):
            received_at = now - timedelta(seconds=age_s)
            await connection.execute(
                LEDGER.insert().values(
                    source="r2z2:x",
                    position=position,
                    kind=kind,
                    received_at=received_at,
                    next_try_at=now,
                    refusals=refusals,
                )
            )
        await connection.execute(
            CURSORS.insert().values(
                source="r2z2:x",
                position=9,
                updated_at=now - timedelta(seconds=300),
                tip=12,
                checked_at=now - timedelta(seconds=3),
            )
        )
    facts = await probe_database(settings, limit_s=10)
    assert isinstance(facts, DatabaseFacts)
    assert facts.revision
    assert (facts.last_sequence, facts.unpublished, facts.ledger, facts.holes) == (2, 1, 3, 1)
    assert facts.last_stored_age_s == pytest.approx(800, abs=10)
    assert facts.unpublished_oldest_age_s == pytest.approx(800, abs=10)
    assert facts.ledger_oldest_age_s == pytest.approx(500, abs=10)
    (source,) = facts.sources
    assert (source.position, source.tip) == (9, 12)
    assert source.age_s == pytest.approx(300, abs=10)
    assert source.checked_age_s == pytest.approx(3, abs=10)
    assert facts.killmails is None, "counting what may be large wasn't asked for"


@pytest.mark.parametrize("name", ["rabbitmq_url", "kafka_url", "redis_url"])
async def test_server_that_is_not_named_is_embedded(name: str) -> None:
    assert await SERVERS[name][0](Settings(), limit_s=LIMIT_S) == Embedded()


@pytest.fixture
async def database_url() -> AsyncIterator[str]:
    async with fresh_database() as url:
        await migrate(Settings(database_url=url))
        yield url


@pytest.mark.service
@pytest.mark.parametrize("name", SERVERS)
async def test_silent_server_is_unreachable_within_the_limit_and_seen_again_when_it_is_back(
    name: str, database_url: str
) -> None:
    probe, facts = SERVERS[name]
    url = database_url if name == "database_url" else server_urls()[name]
    async with open_proxy(url) as proxy:
        settings = Settings.model_validate({name: proxy.url(url)})
        assert isinstance(await probe(settings, limit_s=15), facts)
        proxy.go_silent()
        began_s = time.monotonic()
        assert await probe(settings, limit_s=LIMIT_S) == Unreachable("no answer within 1 s")
        assert time.monotonic() - began_s < LIMIT_S + 0.5
        proxy.resume()
        assert isinstance(await probe(settings, limit_s=15), facts)
        async with asyncio.timeout(5):
            while probe_module._running:  # what was given up on ends by itself
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("name", SERVERS)
async def test_server_that_is_away_is_unreachable_with_a_reason(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    scheme = {
        "database_url": "postgresql+asyncpg",
        "rabbitmq_url": "amqp",
        "kafka_url": "kafka",
        "redis_url": "redis",
    }[name]
    settings = Settings.model_validate({name: f"{scheme}://127.0.0.1:{free_port()}"})
    facts = await SERVERS[name][0](settings, limit_s=10)
    assert isinstance(facts, Unreachable)
    assert facts.reason
    assert "no answer" not in facts.reason
    assert not [record for record in caplog.records if record.name != "asyncio"]


async def test_embedded_event_log_answers_until_it_ends() -> None:
    async with open_event_log() as (url, _process):
        settings = Settings(kafka_url=url)
        await create_topics(settings)
        for lag in (False, True):
            facts = await probe_kafka(settings, limit_s=10, lag=lag)
            assert isinstance(facts, KafkaFacts)
            assert facts.topics[RECEIVED.name] == TopicFacts(RECEIVED.partitions, 0, None)
    assert isinstance(await probe_kafka(settings, limit_s=10), Unreachable)


async def test_probe_that_hangs_is_left_alone() -> None:
    let_go = asyncio.Event()
    began_s = time.monotonic()
    facts = await within(0.1, let_go.wait())
    assert facts == Unreachable("no answer within 0.1 s")
    assert time.monotonic() - began_s < 1
    let_go.set()
    await asyncio.sleep(0)
