"""Probe RabbitMQ: messages and consumers of our queues."""

from functools import partial
from typing import Final

import pika
from dramatiq.common import dq_name, xq_name
from pika.adapters.blocking_connection import BlockingConnection
from pika.exceptions import ChannelClosedByBroker
from pika.frame import Method

from actors.shared.daemon import in_daemon
from actors.shared.health.facts import Embedded, QueueFacts, RabbitmqFacts, Unreachable
from actors.shared.health.probe import quieten, within
from actors.shared.queues import Queue
from actors.shared.settings import Settings

HEARTBEAT_S: Final = 2
"""pika closes a silent connection after 1.5 times this, which ends the probe's thread."""

quieten("pika")


async def probe_rabbitmq(
    settings: Settings, *, limit_s: float
) -> RabbitmqFacts | Unreachable | Embedded:
    """Count the messages of each queue: ready, delayed and dead-lettered."""
    if not settings.rabbitmq_url:
        return Embedded()
    count = partial(_count_messages, settings, limit_s)
    return await within(limit_s, in_daemon(count, "rabbitmq probe"))


def _count_messages(settings: Settings, limit_s: float) -> RabbitmqFacts:
    connection = BlockingConnection(probe_parameters(settings, limit_s))
    try:
        return RabbitmqFacts({name: _queue(connection, settings.named(name)) for name in Queue})
    finally:
        if connection.is_open:
            connection.close()


def probe_parameters(settings: Settings, limit_s: float) -> pika.URLParameters:
    """Return the parameters of a connection that ends soon when RabbitMQ is silent."""
    parameters = pika.URLParameters(settings.rabbitmq_url)
    parameters.socket_timeout = parameters.stack_timeout = limit_s
    parameters.blocked_connection_timeout = limit_s
    parameters.heartbeat = HEARTBEAT_S
    return parameters


def count(connection: BlockingConnection, queue: str) -> tuple[int, int] | None:
    """Count a queue's ready messages and its consumers; None where it doesn't exist."""
    declared = _declared(connection, queue)
    if declared is None:
        return None
    return int(declared.method.message_count), int(declared.method.consumer_count)


def _queue(connection: BlockingConnection, name: str) -> QueueFacts:
    declared = _declared(connection, name)
    return QueueFacts(
        ready=_messages(declared),
        delayed=_messages(_declared(connection, dq_name(name))),
        dead=_messages(_declared(connection, xq_name(name))),
        consumers=declared.method.consumer_count if declared else None,
    )


def _messages(declared: Method | None) -> int | None:
    return int(declared.method.message_count) if declared else None


def _declared(connection: BlockingConnection, queue: str) -> Method | None:
    """Declare a queue passively; None where it doesn't exist."""
    channel = connection.channel()  # one per queue: a missing queue closes it
    try:
        declared = channel.queue_declare(queue, passive=True)
    except ChannelClosedByBroker as error:
        if error.reply_code != 404:
            raise
        return None
    channel.close()
    return declared
