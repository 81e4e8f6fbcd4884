"""The RabbitMQ broker of dramatiq, whose connections are closed within a limit."""

from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, Final

import structlog
from dramatiq.brokers.rabbitmq import RabbitmqBroker, _RabbitmqConsumer

from actors.shared.daemon import start_in_daemon

log: Final = structlog.get_logger()

CLOSE_S: Final = 2.0
"""How long RabbitMQ may take to confirm that the connections are closed."""


class BoundedBroker(RabbitmqBroker):
    """Closes all connections at the same time, and gives up on them after `CLOSE_S`.

    pika waits for RabbitMQ's confirmation, which a frozen server doesn't send. A connection that is
    left is closed by the exit of the process; RabbitMQ redelivers what wasn't acknowledged.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._closing: list[Future[None]] = []

    @property
    def consumer_class(self) -> type["_BoundedConsumer"]:
        """The class of the consumers."""
        return _BoundedConsumer

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


class _BoundedConsumer(_RabbitmqConsumer):
    def close(self) -> None:
        """Begin to close the connection, after the acknowledgements that are queued."""
        self.broker.begin_close(super().close)
