"""Whether the event log still holds what it took."""

import pytest

from actors.shared.settings import Settings
from actors.shared.topics import RECEIVED, create_topics, open_admin, open_producer
from deploy.eventlog import open_event_log
from streams.topics import holds_nothing
from tests.support.servers import empty_servers


async def test_an_embedded_event_log_holds_nothing_until_something_is_sent() -> None:
    async with open_event_log() as (url, _):
        settings = Settings(kafka_url=url)
        await create_topics(settings)
        await holds_nothing_until_a_message_comes(settings)


@pytest.mark.service
async def test_kafka_holds_nothing_when_its_topic_was_created_again() -> None:
    async with empty_servers() as settings:
        await create_topics(settings)
        await holds_nothing_until_a_message_comes(settings)
        async with open_admin(settings) as admin:
            await admin.delete_topics([settings.named(RECEIVED.name)])
        assert settings.named(RECEIVED.name) in await create_topics(settings)
        assert await holds_nothing(settings)


async def holds_nothing_until_a_message_comes(settings: Settings) -> None:
    assert await holds_nothing(settings)
    async with open_producer(settings) as producer:
        await producer.send_and_wait(settings.named(RECEIVED.name), b"{}", key=b"1")
    assert not await holds_nothing(settings)


async def test_an_event_log_that_does_not_answer_has_not_forgotten() -> None:
    assert not await holds_nothing(Settings(kafka_url="kafka://127.0.0.1:9"))
