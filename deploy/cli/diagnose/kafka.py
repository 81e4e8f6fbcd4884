"""Kafka, step by step."""

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
from deploy.cli.diagnose.finding import PATIENCE_S, Failed, Finding, attempt, said_ms

NAME: Final = f"{PREFIX}KAFKA_URL"
START_S: Final = 2 * PATIENCE_S


async def kafka_steps(settings: Settings) -> AsyncIterator[Finding]:
    """Try Kafka: environment, bootstrap, each broker, the topics, who reads them.

    Ends with the first step that fails. Nothing is written.
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
    for step, trying in (
        ("bootstrap", partial(_bootstrap, settings)),
        ("brokers", partial(_reach_brokers, settings)),
        ("topics", partial(_count_topics, settings)),
        (f"group {settings.named(GROUP)}", partial(_count_readers, settings)),
    ):
        finding = await attempt(step, trying(), _advice)
        yield finding
        if finding.advice:
            return


async def _bootstrap(settings: Settings) -> str:
    began_s = asyncio.get_running_loop().time()
    async with open_admin(settings) as admin:
        brokers = await _brokers(admin)
        said = f"{said_ms(began_s)}, {len(brokers)} broker{'' if len(brokers) == 1 else 's'}"
    if len(brokers) < settings.kafka_replication:
        raise Failed(
            said,
            f"{PREFIX}KAFKA_REPLICATION={settings.kafka_replication} asks for as many brokers:"
            " lower it, or start them",
        )
    return said


async def _reach_brokers(settings: Settings) -> str:
    async with open_admin(settings) as admin:
        return await connect([(one["host"], one["port"]) for one in await _brokers(admin)])


async def connect(addresses: Sequence[tuple[str, int]]) -> str:
    """Connect to each broker by the address that it gives clients, which it has from a setting.

    Raises:
        Failed: one can't be reached.
    """
    for host, port in addresses:
        try:
            async with asyncio.timeout(PATIENCE_S):
                _, writer = await asyncio.open_connection(host, port)
            with closing(writer):
                pass
        except (OSError, TimeoutError) as error:
            raise Failed(
                f"Kafka sends clients to {host}:{port}, which can't be reached:"
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
    said = ", ".join(f"{name}: {_topic(topic)}" for name, topic in topics.items())
    missing = [name for name, topic in topics.items() if not topic.partitions]
    if missing:
        raise Failed(
            said, "start `killstream streams`: it makes the topics, or says what Kafka refuses"
        )
    return said


async def _count_readers(settings: Settings) -> str:
    lag = (await _facts(settings))[settings.named(RECEIVED.name)].lag
    async with open_admin(settings) as admin:
        (group,) = await admin.describe_consumer_groups([settings.named(GROUP)])
        members = len(group.groups[0][-2]) if group.groups else 0
    said = f"{members} members, {lag or 0:,} messages to read"
    if lag and not members:
        raise Failed(said, "start `killstream streams`: no consumer reads them")
    return said


async def _facts(settings: Settings) -> dict[str, TopicFacts]:
    facts = await probe_kafka(settings, limit_s=START_S, lag=True)
    if isinstance(facts, Unreachable):
        raise ConnectionError(facts.reason)
    assert isinstance(facts, KafkaFacts), "the URL is set"
    return facts.topics


def _topic(topic: TopicFacts) -> str:
    return f"{topic.messages:,} messages" if topic.partitions else "isn't there"


def _advice(error: Exception) -> str:
    if isinstance(error, KillstreamError | ValueError):
        return "the URL must read kafka://HOST:9092, or kafka://HOST:9092,HOST:9092"
    return (
        f"start Kafka there (`just services` on this host), or correct the host and port in {NAME};"
        " from another host check `listeners` and the firewall"
    )
