"""`killstream diagnose kafka`, on a real Kafka."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer

from actors.shared.settings import Settings
from actors.shared.topics import RECEIVED, create_topics
from deploy.cli.diagnose.finding import Failed
from deploy.cli.diagnose.kafka import connect, kafka_steps
from deploy.ports import free_port
from tests.deploy.cli.diagnose.support import all_of, failed, steps_of
from tests.support.proxy import open_proxy
from tests.support.servers import empty_servers

TIMEOUT_S = 30

pytestmark = pytest.mark.service


@pytest.fixture
async def settings() -> AsyncIterator[Settings]:
    async with empty_servers() as chosen:
        yield chosen


async def test_a_kafka_that_works_passes_each_step(settings: Settings) -> None:
    step, _, advice = failed(await all_of(kafka_steps(settings)))
    assert (step, "killstream streams" in advice) == ("topics", True)
    await create_topics(settings)
    async with asyncio.timeout(TIMEOUT_S):  # until the broker tells of them
        while (found := await all_of(kafka_steps(settings)))[-1].step == "topics":
            await asyncio.sleep(0.05)
    assert steps_of(found) == ["environment", "bootstrap", "brokers", "topics", "group killstream"]
    assert found[-1].result == "0 members, 0 messages of lag"

    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap) as producer:
        await producer.send_and_wait(RECEIVED.name, b"x")
    step, result, advice = failed(await all_of(kafka_steps(settings)))
    assert (step, result) == ("group killstream", "0 members, 1 messages of lag")
    assert "start `killstream streams`" in advice


async def test_each_failure_has_its_advice(settings: Settings) -> None:
    step, _, advice = failed(await all_of(kafka_steps(Settings())))
    assert (step, "just services" in advice) == ("environment", True)
    away = Settings(kafka_url=f"kafka://127.0.0.1:{free_port()}")
    step, _, advice = failed(await all_of(kafka_steps(away)))
    assert (step, "start Kafka" in advice) == ("bootstrap", True)
    too_many = settings.model_copy(update={"kafka_replication": 3})
    step, result, advice = failed(await all_of(kafka_steps(too_many)))
    assert (step, "1 broker" in result, "KAFKA_REPLICATION=3" in advice) == (
        "bootstrap",
        True,
        True,
    )


async def test_an_unreachable_advertised_address_is_reported() -> None:
    """As behind NAT: the bootstrap address works, the one that the broker gives doesn't."""
    elsewhere = free_port()
    with pytest.raises(Failed, match=f"127.0.0.1:{elsewhere}") as failure:
        await connect([("127.0.0.1", elsewhere)])
    assert "advertised.listeners" in failure.value.advice


async def test_a_silent_server_fails_within_the_time_limit(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.shared.topics.REQUEST_MS", 500)
    async with open_proxy(settings.kafka_url) as proxy:
        proxy.go_silent()
        silent = Settings(kafka_url=proxy.url(settings.kafka_url))
        step, _, advice = failed(await all_of(kafka_steps(silent)))
    assert (step, "start Kafka" in advice) == ("bootstrap", True)
