"""The RabbitMQ broker of dramatiq, whose connections are closed within a limit."""

import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from typing import Any, Final

import dramatiq
import structlog
from dramatiq.brokers.rabbitmq import RabbitmqBroker, _RabbitmqConsumer
from dramatiq.errors import ConnectionClosed
from pika.exceptions import AMQPError

from actors.consumption import Consumption
from actors.shared.daemon import start_in_daemon
from actors.shared.heartbeat import QueueBeat

log: Final = structlog.get_logger()

CLOSE_S: Final = 2.0
"""How long RabbitMQ may take to confirm that the connections are closed."""


class BoundedBroker(RabbitmqBroker):
    """Closes all connections at the same time, and gives up on them after `CLOSE_S`.

    pika waits for RabbitMQ's confirmation, which a frozen server doesn't send. A connection that is
    left is closed by the exit of the process; RabbitMQ redelivers what wasn't acknowledged.
    """

    def __init__(self, consumption: Consumption, **options: Any) -> None:
        super().__init__(**options)
        self.consumption = consumption
        self._closing: list[Future[None]] = []

    @property
    def consumer_class(self) -> type["_BoundedConsumer"]:
        """The class of the consumers."""
        return _BoundedConsumer

    @property
    def channel(self) -> Any:
        """The thread's channel; the messages that it publishes carry their time."""
        channel = super().channel
        if "basic_publish" not in vars(channel):
            channel.basic_publish = partial(_publish_stamped, channel.basic_publish)
        return channel

    @channel.deleter
    def channel(self) -> None:
        RabbitmqBroker.channel.fdel(self)  # type: ignore[attr-defined]  # a property

    def with_ready(self, beats: dict[str, QueueBeat]) -> dict[str, QueueBeat]:
        """Return them as they are: RabbitMQ knows what is ready."""
        return beats

    def begin_close(self, close: Callable[[], None]) -> None:
        """Call `close` in the background; `BoundedBroker.close` waits for it."""
        self._closing = [f for f in self._closing if not f.done()]
        self._closing.append(start_in_daemon(close, "rabbitmq close"))

    def close(self) -> None:
        """Close all connections."""
        self._ignore_pika_logs()
        for connection in tuple(self.connections):  # threads change the set meanwhile
            if connection.is_open:
                self.begin_close(connection.close)
        _, left = wait(self._closing, CLOSE_S)
        if left:
            log.warning(
                "rabbitmq.close_abandoned",
                connections=len(left),
                after_s=CLOSE_S,
                then="RabbitMQ redelivers what wasn't acknowledged",
            )


def _publish_stamped(publish: Callable[..., None], **options: Any) -> None:
    """Publish with a timestamp, by which RabbitMQ tells the age of a queue's head."""
    options["properties"].timestamp = int(time.time())
    publish(**options)


class _BoundedConsumer(_RabbitmqConsumer):
    def __init__(self, broker: BoundedBroker, queue_name: str, prefetch: int, timeout: int) -> None:
        # Consumes only from the first `next`.
        super().__init__(broker, queue_name, prefetch, timeout)  # type: ignore[no-untyped-call]  # dramatiq's
        self._timeout_s = timeout / 1000
        self._is_consuming = False
        self._own: dict[int, dramatiq.MessageProxy] = {}
        """What this connection delivered and isn't acknowledged, by delivery tag."""

    def __next__(self) -> dramatiq.MessageProxy | None:
        """Wait for the next message; there is none while the queue is paused."""
        if self.broker.consumption.is_paused(self.queue_name):
            try:
                self._idle()
            except (AMQPError, AssertionError) as error:  # pika's in the midst of a close
                raise ConnectionClosed(error) from None
            return None
        self._is_consuming = True
        message: dramatiq.MessageProxy | None = super().__next__()  # type: ignore[no-untyped-call]  # dramatiq's
        if message is not None:
            self._own[message._tag] = message
            self.broker.consumption.delivered(self.queue_name, message)
        return message

    def ack(self, message: Any) -> None:
        """Acknowledge a message of this connection."""
        if self._take(message):
            super().ack(message)  # type: ignore[no-untyped-call]  # dramatiq's

    def nack(self, message: Any) -> None:
        """Have a message of this connection dead-lettered."""
        if self._take(message):
            super().nack(message)  # type: ignore[no-untyped-call]  # dramatiq's

    def _take(self, message: Any) -> bool:
        """Forget a message; False for one of a former connection, which RabbitMQ delivers again.

        Its tag is unknown to this connection, or another message's.
        """
        is_own = self._own.get(message._tag) is message
        if is_own:
            del self._own[message._tag]
        return is_own

    def _idle(self) -> None:
        """Send acknowledgements and heartbeats only; at first cancel the consumer."""
        if self._is_consuming:
            self._is_consuming = False
            self.channel.cancel()  # before messages are given back: this consumer gets none of them
            for message in self.broker.consumption.take_waiting(self.queue_name):
                if self._take(message):
                    self.known_tags.discard(message._tag)
                    self.channel.basic_reject(message._tag, requeue=True)
            self.iterator = self.channel.consume(
                self.queue_name, inactivity_timeout=self._timeout_s
            )
        self.connection.process_data_events(self._timeout_s)
        self.channel._impl._raise_if_not_open()

    def close(self) -> None:
        """Begin to close the connection, after the acknowledgements that are queued."""
        self.broker.consumption.forget(self.queue_name)
        self.broker.begin_close(super().close)
