"""The steps for Kafka."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient

from actors.shared.errors import KillstreamError
from actors.shared.health.facts import KafkaFacts, TopicFacts, Unreachable
from actors.shared.health.kafka import GROUP, probe_kafka
from actors.shared.settings import PREFIX, Settings
from actors.shared.topics import RECEIVED, open_admin
from deploy.cli.diagnose.finding import ANSWER_S, Failed, Finding, elapsed_ms, run_step

NAME: Final = f"{PREFIX}KAFKA_URL"
START_S: Final = 2 * ANSWER_S


async def kafka_steps(settings: Settings) -> AsyncIterator[Finding]:
    """Check Kafka: environment, bootstrap, each broker, the topics, the consumer group.

    Ends with the first step that fails. Writes nothing.
    """
    if not settings.kafka_url:
        yield Finding(
            "environment",
            f"{NAME} is not set",
            f"set {NAME}=kafka://HOST:9092; `just services` starts one on this host, and"
            " `killstream up` needs none",
        )
        return
    yield Finding("environment", f"{NAME}={settings.kafka_url}")
    for step, run in (
        ("bootstrap", partial(_bootstrap, settings)),
        ("brokers", partial(_connect_to_brokers, settings)),
        ("topics", partial(_count_topics, settings)),
        (f"group {settings.named(GROUP)}", partial(_count_consumers, settings)),
    ):
        finding = await run_step(step, run(), _advice)
        yield finding
        if finding.advice:
            return


async def _bootstrap(settings: Settings) -> str:
    began_s = asyncio.get_running_loop().time()
    async with open_admin(settings) as admin:
        brokers = await _brokers(admin)
        result = f"{elapsed_ms(began_s)}, {len(brokers)} broker{'' if len(brokers) == 1 else 's'}"
    if len(brokers) < settings.kafka_replication:
        raise Failed(
            result,
            f"{PREFIX}KAFKA_REPLICATION={settings.kafka_replication} requires as many brokers:"
            " lower it, or start more brokers",
        )
    return result


async def _connect_to_brokers(settings: Settings) -> str:
    async with open_admin(settings) as admin:
        return await connect([(one["host"], one["port"]) for one in await _brokers(admin)])


async def connect(addresses: Sequence[tuple[str, int]]) -> str:
    """Connect to each broker by its advertised address.

    Raises:
        Failed: a broker can't be reached.
    """
    for host, port in addresses:
        try:
            async with asyncio.timeout(ANSWER_S):
                _, writer = await asyncio.open_connection(host, port)
            with closing(writer):
                pass
        except (OSError, TimeoutError) as error:
            raise Failed(
                f"the broker advertises {host}:{port}, which can't be reached:"
                f" {str(error) or 'no answer'}",
                "correct `advertised.listeners` of that broker, or the name's address on this host",
            ) from None
    return ", ".join(f"{host}:{port}" for host, port in addresses)


async def _brokers(admin: AIOKafkaAdminClient) -> list[dict[str, Any]]:
    described = await admin.describe_cluster()
    brokers: list[dict[str, Any]] = described["brokers"]
    return brokers


async def _count_topics(settings: Settings) -> str:
    topics = await _facts(settings)
    result = ", ".join(f"{name}: {_topic(topic)}" for name, topic in topics.items())
    missing = [name for name, topic in topics.items() if not topic.partitions]
    if missing:
        raise Failed(
            result,
            "start `killstream streams`: it creates the topics, or prints why Kafka refuses to",
        )
    return result


async def _count_consumers(settings: Settings) -> str:
    lag = (await _facts(settings))[settings.named(RECEIVED.name)].lag
    async with open_admin(settings) as admin:
        (group,) = await admin.describe_consumer_groups([settings.named(GROUP)])
        members = len(group.groups[0][-2]) if group.groups else 0
    result = f"{members} members, {lag or 0:,} messages of lag"
    if lag and not members:
        raise Failed(result, "start `killstream streams`: no consumer reads them")
    return result


async def _facts(settings: Settings) -> dict[str, TopicFacts]:
    facts = await probe_kafka(settings, limit_s=START_S, lag=True)
    if isinstance(facts, Unreachable):
        raise ConnectionError(facts.reason)
    assert isinstance(facts, KafkaFacts), "the URL is set"
    return facts.topics


def _topic(topic: TopicFacts) -> str:
    return f"{topic.messages:,} messages" if topic.partitions else "doesn't exist"


def _advice(error: Exception) -> str:
    if isinstance(error, KillstreamError | ValueError):
        return "the URL must read kafka://HOST:9092, or kafka://HOST:9092,HOST:9092"
    return (
        f"start Kafka there (`just services` on this host), or correct the host and port in {NAME};"
        " from another host check `listeners` and the firewall"
    )
