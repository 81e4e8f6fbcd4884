"""Topics: created at start, every refusal of Kafka read."""

import asyncio

import pytest
from aiokafka.errors import (
    InvalidReplicationFactorError,
    NotControllerError,
    PolicyViolationError,
    TopicAlreadyExistsError,
)

from actors.shared.errors import Misconfigured, ServerUnavailable
from actors.shared.settings import Settings
from actors.shared.topics import TOPICS, _check, create_topics, open_admin
from deploy.ports import free_port
from tests.support.servers import empty_servers

NAMES = {topic.name for topic in TOPICS}


@pytest.mark.service
async def test_topics_are_created_once_and_again_when_one_was_deleted() -> None:
    async with empty_servers() as settings:
        assert set(await create_topics(settings)) == NAMES
        assert await create_topics(settings) == []
        async with open_admin(settings) as admin:
            await admin.delete_topics(["killmails.stored"])
            while "killmails.stored" in await admin.list_topics():
                await asyncio.sleep(0.05)
        assert await create_topics(settings) == ["killmails.stored"]


@pytest.mark.service
async def test_topics_of_a_namespace_are_beside_the_others() -> None:
    async with empty_servers() as settings:
        await create_topics(settings)
        named = settings.model_copy(update={"namespace": "killstream-two"})
        theirs = {f"killstream-two.{name}" for name in NAMES}
        assert set(await create_topics(named)) == theirs
        async with open_admin(settings) as admin:
            async with asyncio.timeout(10):  # a broker learns of them a moment later
                while not set(await admin.list_topics()) >= NAMES | theirs:
                    await asyncio.sleep(0.05)


@pytest.mark.service
async def test_a_replication_that_kafka_has_no_brokers_for_is_said_with_the_setting() -> None:
    async with empty_servers() as settings:
        three = settings.model_copy(update={"kafka_replication": 3})
        with pytest.raises(Misconfigured, match=r"killmails\.received .*KAFKA_REPLICATION"):
            await create_topics(three)


async def test_a_kafka_that_is_not_there_is_waited_for_and_then_said() -> None:
    settings = Settings(kafka_url=f"kafka://127.0.0.1:{free_port()}")
    with pytest.raises(ServerUnavailable, match=settings.kafka_bootstrap):
        await create_topics(settings, wait_s=0.5)


def test_each_code_of_the_answer_is_read() -> None:
    _check([("a", 0, None), ("b", TopicAlreadyExistsError.errno, "exists")])
    with pytest.raises(NotControllerError):
        _check([("a", 0), ("b", NotControllerError.errno)])
    refused = [
        ("a", PolicyViolationError.errno, "only 3 replicas are allowed"),
        ("b", InvalidReplicationFactorError.errno, None),
    ]
    with pytest.raises(Misconfigured, match=r"a \(PolicyViolation: only 3.*b \(InvalidRep"):
        _check(refused)
