"""The Faust app obeys our settings and nobody else's."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import faust
import pytest

from actors.shared.errors import Misconfigured
from actors.shared.settings import Settings
from streams.app import DirectConsumer, make_app


@pytest.mark.parametrize("name", ["BROKER_URL", "WEB_PORT", "APP_DATADIR"])
def test_a_variable_that_faust_would_obey_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(Misconfigured, match=name):
        make_app(Settings(kafka_url="kafka://127.0.0.1:9092"))


def test_the_app_uses_every_kafka_server_that_is_named() -> None:
    app: faust.App = make_app(Settings(kafka_url="kafka://a:1,b:2"))
    assert [str(url) for url in app.conf.broker] == ["kafka://a:1", "kafka://b:2"]


@pytest.fixture
async def consumer() -> AsyncIterator[DirectConsumer]:
    """A consumer of an app that isn't started; its agent's buffer holds one message."""
    app = make_app(Settings(kafka_url="kafka://127.0.0.1:9092"))
    app.conf.stream_buffer_maxsize = 1
    app.topics.add(app.topic("some"))
    app.flow_control.resume()
    made = app.consumer
    assert isinstance(made, DirectConsumer)
    yield made
    made._thread.thread_loop.close()


async def delivered_by(consumer: DirectConsumer) -> asyncio.Task[Any] | None:
    """Deliver a message as Faust does; return the task that did it."""

    async def delivery() -> asyncio.Task[Any] | None:
        return asyncio.current_task()

    results = await consumer.wait_first(delivery(), consumer.suspend_flow.wait())
    return cast(asyncio.Task[Any], results.results[0])


async def test_a_message_makes_no_task(consumer: DirectConsumer) -> None:
    assert await delivered_by(consumer) is asyncio.current_task()


async def test_a_message_that_may_have_to_wait_ends_with_the_flow(
    consumer: DirectConsumer,
) -> None:
    (topic,) = consumer.app.topics
    topic.queue.put_nowait(object())
    assert await delivered_by(consumer) is not asyncio.current_task()
    waiting = asyncio.create_task(
        consumer.wait_first(asyncio.Event().wait(), consumer.suspend_flow.wait())
    )
    await asyncio.sleep(0)
    consumer.stop_flow()
    async with asyncio.timeout(5):
        await waiting


async def test_no_message_is_delivered_while_the_flow_is_stopped(consumer: DirectConsumer) -> None:
    consumer.app.flow_control.suspend()
    assert await delivered_by(consumer) is not asyncio.current_task()
