"""`killstream diagnose rabbitmq`, on a real RabbitMQ."""

from collections.abc import AsyncIterator

import pytest

from actors.shared.settings import Settings
from deploy.cli.diagnose.rabbitmq import rabbitmq_steps
from deploy.ports import free_port
from tests.deploy.cli.diagnose.support import all_of, failed, steps_of
from tests.support.dead import a_message, declare, held, put
from tests.support.proxy import open_proxy
from tests.support.servers import empty_servers

pytestmark = pytest.mark.service


@pytest.fixture
async def settings() -> AsyncIterator[Settings]:
    async with empty_servers() as chosen:
        yield chosen


async def test_a_rabbitmq_that_works_passes_each_step(settings: Settings) -> None:
    assert failed(await all_of(rabbitmq_steps(settings)))[2].startswith("start `killstream actors`")
    declare(settings)
    put(settings, "database.XQ", [a_message("a")])
    found = await all_of(rabbitmq_steps(settings))
    assert steps_of(found) == ["environment", "login", "round trip", "queues"]
    assert "database: 0 ready, 0 delayed, 1 dead (`killstream dead list`)" in found[-1].result

    put(settings, "database", [a_message("b")])
    step, _, advice = failed(await all_of(rabbitmq_steps(settings)))
    assert (step, "no consumer reads database" in advice) == ("queues", True)
    assert len(held(settings, "database")) == 1


async def test_each_failure_has_its_advice(settings: Settings) -> None:
    async def diagnosed(url: str) -> tuple[str, str, str]:
        return failed(await all_of(rabbitmq_steps(Settings(rabbitmq_url=url))))

    step, _, advice = await diagnosed("")
    assert (step, "just services" in advice) == ("environment", True)
    url = settings.rabbitmq_url
    step, _, advice = await diagnosed(url.replace(":killstream@", ":wrong@"))
    assert (step, "password" in advice) == ("login", True)
    step, _, advice = await diagnosed(url.rpartition("/")[0] + "/nowhere")
    assert (step, "add_vhost" in advice) == ("login", True)
    step, _, advice = await diagnosed(f"amqp://a:b@127.0.0.1:{free_port()}/x")
    assert (step, "firewall" in advice) == ("login", True)


async def test_a_silent_server_fails_within_the_time_limit(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.rabbitmq.ANSWER_S", 1.0)
    async with open_proxy(settings.rabbitmq_url) as proxy:
        proxy.go_silent()
        silent = Settings(rabbitmq_url=proxy.url(settings.rabbitmq_url))
        step, _, advice = failed(await all_of(rabbitmq_steps(silent)))
    assert (step, "start RabbitMQ" in advice) == ("login", True)
