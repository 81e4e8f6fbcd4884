"""Servers with TLS: `rediss://` and `amqps://`, with the operator's authority in SSL_CERT_FILE."""

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from ssl import SSLCertVerificationError

import dramatiq
import pytest
from pika import BlockingConnection, URLParameters
from redis.asyncio import Redis
from redis.exceptions import RedisError

from actors import broker as broker_module
from actors.broker import DATABASE_QUEUE, enqueue, make_broker
from actors.shared.events import open_events
from actors.shared.settings import Settings
from deploy.cli.diagnose.rabbitmq import rabbitmq_steps
from deploy.cli.diagnose.redis import redis_steps
from streams.lock import Lease, run_alone
from tests.support.esi import standin
from tests.support.pipeline import pipeline
from tests.support.processes import start_killstream
from tests.support.servers import empty_servers
from tests.support.tls import TlsServers, tls_servers

pytestmark = [pytest.mark.service, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServers]:
    with tls_servers(tmp_path_factory.mktemp("tls")) as started:
        yield started


@pytest.fixture
def settings(servers: TlsServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an operator who trusts the servers' authority."""
    monkeypatch.setenv("SSL_CERT_FILE", str(servers.ca))
    return Settings(
        data_dir=tmp_path, redis_url=servers.redis_url, rabbitmq_url=servers.rabbitmq_url
    )


async def test_an_event_arrives(settings: Settings) -> None:
    async with open_events(settings) as events, events.subscribe("a") as subscriber:
        await events.publish("a", "hello")
        while not (message := (await subscriber.get()).message):
            pass
        assert message == "hello"


async def test_a_lock_is_acquired_and_released(settings: Settings) -> None:
    """The second holder works after the first, so the first one's lock was released."""
    done = []
    stop = asyncio.Event()

    async def work(number: int, _: asyncio.Event) -> None:
        done.append(number)

    for number in (1, 2):
        await run_alone(settings.redis_url, "a", partial(work, number), stop, Lease(), end_s=5.0)
    assert done == [1, 2]


async def test_a_message_is_sent_and_consumed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rabbit = make_broker(settings)
    monkeypatch.setattr(broker_module, "broker", rabbit)
    unit = dramatiq.actor(broker=rabbit, queue_name=DATABASE_QUEUE, actor_name="say")(print)
    consumer = None
    try:
        await enqueue(unit, b"\x00 body")
        consumer = await asyncio.to_thread(rabbit.consume, DATABASE_QUEUE, 1, 10_000)
        message = await asyncio.to_thread(next, consumer)
        assert message is not None
        assert (message.actor_name, message.args) == ("say", (b"\x00 body",))
        await asyncio.to_thread(consumer.ack, message)
    finally:
        if consumer is not None:
            await asyncio.to_thread(consumer.close)
        await asyncio.to_thread(rabbit.close)


async def test_an_unknown_authority_is_refused(servers: TlsServers) -> None:
    """As both libraries do it by default; without this the tests above would show little."""
    refused = "certificate verify failed"
    async with Redis.from_url(servers.redis_url) as redis:
        with pytest.raises(RedisError, match=refused):
            await redis.execute_command("PING")
    with pytest.raises(SSLCertVerificationError, match=refused):
        await asyncio.to_thread(BlockingConnection, URLParameters(servers.rabbitmq_url))


@pytest.mark.flow
async def test_all_processes_work_together(settings: Settings, tmp_path: Path) -> None:
    async with standin(killmails=20) as upstream, empty_servers() as plain:
        changes = {
            "redis_url": settings.redis_url,
            "rabbitmq_url": settings.rabbitmq_url,
            "r2z2_url": upstream.url,
            "esi_url": upstream.url,
        }
        async with pipeline(plain.model_copy(update=changes), tmp_path) as pipe:
            await pipe.until(lambda published: published >= 20, timeout_s=120)
            for command in (["status"], ["diagnose", "redis"]):
                log = tmp_path / f"{command[0]}.log"
                checking = await start_killstream(*command, settings=pipe.settings, log=log)
                assert await checking.process.wait() == 0, log.read_text()


async def test_an_untrusted_certificate_is_reported_with_the_remedy(
    servers: TlsServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    for steps in (
        rabbitmq_steps(Settings(rabbitmq_url=servers.rabbitmq_url)),
        redis_steps(Settings(redis_url=servers.redis_url), 0),
    ):
        *_, last = [finding async for finding in steps]
        assert "SSL_CERT_FILE" in last.advice, last


async def test_a_certificate_of_another_host_is_reported(settings: Settings) -> None:
    elsewhere = settings.rabbitmq_url.replace("@127.0.0.1:", "@127.1:")  # the same by another name
    *_, last = [one async for one in rabbitmq_steps(Settings(rabbitmq_url=elsewhere))]
    assert "certificate is another host's" in last.advice, last
