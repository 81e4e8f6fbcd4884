"""Dead letters put into RabbitMQ, and what its queues hold."""

import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import pika

from actors.broker import DATABASE_QUEUE, ESI_QUEUE, MAX_PRIORITY, make_broker
from actors.rabbitmq import connection_parameters
from actors.shared.settings import Settings

HOUR_MS: Final = 3_600_000

Sent = dict[str, Any]


def declare(settings: Settings) -> None:
    """Make the queues as `killstream actors` does."""
    broker = make_broker(settings)
    for queue in (DATABASE_QUEUE, ESI_QUEUE):
        broker.declare_queue(queue, ensure=True)  # type: ignore[call-arg]
    broker.close()


def a_message(message_id: str, actor: str = "persist", **changes: Any) -> Sent:
    """Make a message as dramatiq writes it after 12 tries."""
    return {
        "queue_name": "database",
        "actor_name": actor,
        "args": [[b'{"killmail_id":7,"hash":"secret body"}']],
        "kwargs": {},
        "options": {
            "broker_priority": MAX_PRIORITY,
            "retries": 11,
            "requeue_timestamp": 1,
            "eta": 1,
            "traceback": 'Traceback\n  File "x.py", line 1, in x\n    x()\nOSError: no disk\n',
        },
        "message_id": message_id,
        "message_timestamp": now_ms() - HOUR_MS,
    } | changes


def now_ms() -> int:
    return int(time.time() * 1000)


def put(settings: Settings, queue: str, messages: Sequence[Sent | bytes]) -> None:
    """Put messages into a queue that is there, in this order."""
    with pika.BlockingConnection(connection_parameters(settings.rabbitmq_url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for message in messages:
            body = message if isinstance(message, bytes) else msgspec.msgpack.encode(message)
            properties = pika.BasicProperties(delivery_mode=2)
            channel.basic_publish("", queue, body, properties, mandatory=True)


def held(settings: Settings, queue: str) -> list[Any]:
    """Read what a queue holds, in order, and leave it there; what is no message as its bytes."""
    with pika.BlockingConnection(connection_parameters(settings.rabbitmq_url)) as connection:
        channel = connection.channel()
        found = []
        while (got := channel.basic_get(queue))[0] is not None:
            found.append(got)
        return [_read(body) for _, _, body in found]


def priorities(settings: Settings, queue: str) -> list[int | None]:
    """Read with which priorities RabbitMQ holds a queue's messages."""
    with pika.BlockingConnection(connection_parameters(settings.rabbitmq_url)) as connection:
        channel = connection.channel()
        found = []
        while (got := channel.basic_get(queue))[0] is not None:
            found.append(got[1].priority)
        return found


def _read(body: bytes) -> Any:
    try:
        return msgspec.msgpack.decode(body)
    except msgspec.DecodeError:
        return body
