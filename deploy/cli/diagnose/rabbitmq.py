"""The steps for RabbitMQ."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Final

from pika import BasicProperties, BlockingConnection
from pika.exceptions import (
    AuthenticationError,
    ChannelClosedByBroker,
    ConnectionBlockedTimeout,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from actors.rabbitmq import connection_parameters
from actors.shared.daemon import in_daemon
from actors.shared.health.facts import QueueFacts, RabbitmqFacts, Unreachable
from actors.shared.health.rabbitmq import probe_rabbitmq
from actors.shared.settings import PREFIX, Settings, masked
from deploy.cli.diagnose.finding import ANSWER_S, Failed, Finding, run_step

NAME: Final = f"{PREFIX}RABBITMQ_URL"
LOGIN_REFUSED: Final = (AuthenticationError, ProbableAuthenticationError)


async def rabbitmq_steps(settings: Settings) -> AsyncIterator[Finding]:
    """Check RabbitMQ: environment, login, a message's round trip, the queues.

    Ends with the first step that fails. The message uses a temporary queue.
    """
    if not settings.rabbitmq_url:
        yield Finding(
            "environment",
            f"{NAME} is not set",
            f"set {NAME}=amqp://USER:PASSWORD@HOST:5672/VHOST; `just services` starts one on this"
            " host, and `killstream up` needs none",
        )
        return
    yield Finding("environment", f"{NAME}={masked(settings.rabbitmq_url)}")
    url = settings.rabbitmq_url
    steps: tuple[tuple[str, Callable[[], Awaitable[str]]], ...] = (
        ("login", lambda: in_daemon(partial(_log_in, url), "login")),
        ("round trip", lambda: in_daemon(partial(_round_trip, url), "round trip")),
        ("queues", lambda: _count_queues(settings)),
    )
    for step, run in steps:
        finding = await run_step(step, run(), _advice)
        yield finding
        if finding.advice:
            return


def _connect(url: str) -> BlockingConnection:
    parameters = connection_parameters(url)
    parameters.blocked_connection_timeout = ANSWER_S
    parameters.heartbeat = 2  # ends the thread when the server is silent
    return BlockingConnection(parameters)


def _log_in(url: str) -> str:
    began_s = time.monotonic()
    _connect(url).close()
    virtual_host = connection_parameters(url).virtual_host
    return f"{_ms(began_s)} to log in, virtual host {virtual_host}"


def _round_trip(url: str) -> str:
    with _connect(url) as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True, auto_delete=True).method.queue
        channel.confirm_delivery()
        began_s = time.monotonic()
        channel.basic_publish("", queue, b"x", BasicProperties(delivery_mode=2), mandatory=True)
        while channel.basic_get(queue, auto_ack=True)[0] is None:
            if time.monotonic() - began_s > ANSWER_S:
                raise TimeoutError(f"the published message wasn't delivered within {ANSWER_S:g} s")
        return f"{_ms(began_s)} to publish and consume a message"


async def _count_queues(settings: Settings) -> str:
    facts = await probe_rabbitmq(settings, limit_s=ANSWER_S)
    if isinstance(facts, Unreachable):
        raise ConnectionError(facts.reason)
    assert isinstance(facts, RabbitmqFacts), "the URL is set"
    result = "; ".join(_queue(name, queue) for name, queue in facts.queues.items())
    if all(queue.ready is None for queue in facts.queues.values()):
        raise Failed(result, "start `killstream actors`: it creates the queues")
    unread = [name for name, queue in facts.queues.items() if queue.ready and not queue.consumers]
    if unread:
        raise Failed(result, f"start `killstream actors`: no consumer reads {' and '.join(unread)}")
    return result


def _queue(name: str, queue: QueueFacts) -> str:
    if queue.ready is None:
        return f"{name} doesn't exist"
    dead = f", {queue.dead:,} dead (`killstream dead list`)" if queue.dead else ""
    return (
        f"{name}: {queue.ready:,} ready, {queue.delayed or 0:,} delayed{dead},"
        f" {queue.consumers or 0} consumers"
    )


def _ms(began_s: float) -> str:
    return f"{(time.monotonic() - began_s) * 1000:.1f} ms"


def _advice(error: Exception) -> str:
    if isinstance(error, LOGIN_REFUSED):
        return (
            f"user or password in {NAME} are wrong; the user `guest` may only log in from the"
            " server's own host"
        )
    if isinstance(error, ProbableAccessDeniedError) or "vhost" in str(error):
        return (
            f"the virtual host in {NAME} doesn't exist, or the user has no access to it:"
            " `rabbitmqctl add_vhost`, `rabbitmqctl set_permissions`"
        )
    if isinstance(error, ConnectionBlockedTimeout):
        return "RabbitMQ blocks publishers, as with a full disk or memory: `rabbitmqctl status`"
    if isinstance(error, ChannelClosedByBroker):
        return "the user may not declare, write and read queues: `rabbitmqctl set_permissions`"
    if isinstance(error, ValueError):
        return "the URL must read amqp://USER:PASSWORD@HOST:5672/VHOST, or amqps:// with TLS"
    return (
        f"start RabbitMQ there (`just services` on this host), or correct the host and port in"
        f" {NAME}; amqps:// needs the TLS port, usually 5671; from another host check the firewall"
    )
