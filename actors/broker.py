"""The dramatiq broker, its middleware, and `enqueue`, the only way to send a message.

With a RabbitMQ URL messages are stored in RabbitMQ; without one they stay in this process, and
after a crash the ledger's entries are read from the source again.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import wraps
from typing import Any, Final

import dramatiq
import msgspec
import structlog
import uvloop
from dramatiq.asyncio import EventLoopThread, get_event_loop_thread, set_event_loop_thread
from dramatiq.brokers import rabbitmq as dramatiq_rabbitmq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.encoder import Encoder, MessageData
from dramatiq.errors import DecodeError
from dramatiq.middleware import (
    AsyncIO,
    Middleware,
    MiddlewareError,
    Retries,
    ShutdownNotifications,
)
from dramatiq.worker import Worker

from actors.consumption import Consumption
from actors.embedded_broker import EmbeddedBroker
from actors.rabbitmq import UNAVAILABLE, connection_parameters
from actors.rabbitmq_broker import BoundedBroker
from actors.resources import open_resources
from actors.sender import Sender
from actors.shared.counts import counts
from actors.shared.errors import DECODE_ERRORS, Invalid, RetryLater
from actors.shared.metrics import ERRORS
from actors.shared.outage import Outage, one_line
from actors.shared.pauses import watching_pauses
from actors.shared.queues import Queue
from actors.shared.settings import Settings, settings
from actors.timing import MeasureTimes

log: Final = structlog.get_logger()

dramatiq_rabbitmq.MAX_ENQUEUE_ATTEMPTS = (
    2  # the second for a stale connection; after that `enqueue` retries and logs
)

DATABASE_QUEUE: Final = settings().named(Queue.DATABASE)
"""The queue of actors that use the database."""
ESI_QUEUE: Final = settings().named(Queue.ESI)
"""The queue of actors that use ESI."""
SYNC_QUEUE: Final = settings().named(Queue.SYNC)
"""The queue of actors that list users' killmails."""
CHARACTERS_QUEUE: Final = settings().named(Queue.CHARACTERS)
CORPORATIONS_QUEUE: Final = settings().named(Queue.CORPORATIONS)
ALLIANCES_QUEUE: Final = settings().named(Queue.ALLIANCES)
TYPES_QUEUE: Final = settings().named(Queue.TYPES)
"""The queues of actors that refresh entities."""
UNIVERSE_QUEUE: Final = settings().named(Queue.UNIVERSE)
"""The queue of the actor that loads the static universe."""
HISTORY_QUEUE: Final = settings().named(Queue.HISTORY)
"""The queue of the actor that imports history by days."""

MAX_PRIORITY: Final = 9
"""Highest priority of a message; live killmails have it, and the first sync of a user.

RabbitMQ fixes it when a queue is declared: with another number the queues are to be deleted first.
"""
MAX_TRIES: Final = 12
"""Tries of a failing message, in about half an hour; then it is dead-lettered."""


class MessagePack(Encoder):
    """Encodes messages as MessagePack, which holds killmails as bytes."""

    def encode(self, data: MessageData) -> bytes:
        """Encode a message."""
        return msgspec.msgpack.encode(data)

    def decode(self, data: bytes) -> MessageData:
        """Decode a message; raises dramatiq's DecodeError for invalid bytes."""
        try:
            message: MessageData = msgspec.msgpack.decode(data)
        except DECODE_ERRORS as error:
            raise DecodeError(f"not a message: {error}", data, error) from None
        return message


class ActorsLoop(AsyncIO):
    """Runs the actors' event loop in its own thread, on uvloop."""

    def before_worker_boot(self, broker: dramatiq.Broker, worker: Worker) -> None:
        """Start the loop."""
        thread = EventLoopThread(self.logger)
        thread.daemon = True  # a worker that fails to start must not block the exit
        thread.loop.close()
        thread.loop = uvloop.new_event_loop()
        thread.start(timeout=5.0)
        set_event_loop_thread(thread)


class HoldResources(Middleware):
    """Opens the actors' resources before the first message and closes them after the last."""

    def __init__(self, settings: Settings, consumption: Consumption) -> None:
        self.opened = _open(settings, consumption)
        self._opening: asyncio.Task[Any] | None = None

    def before_worker_boot(self, broker: dramatiq.Broker, worker: Worker) -> None:
        """Open on the actors' loop; a MiddlewareError stops the worker from starting."""
        try:
            _on_actors_loop(self._open())
        except Exception as error:  # dramatiq only logs any other error, and starts the worker
            raise MiddlewareError(f"can't open the actors' resources: {error}") from error

    async def _open(self) -> None:
        self._opening = asyncio.current_task()
        await self.opened.__aenter__()

    def cancel_opening(self) -> None:
        """Have `before_worker_boot` raise a MiddlewareError once what was opened is closed."""
        if self._opening and not self._opening.done():
            self._opening.get_loop().call_soon_threadsafe(self._opening.cancel)

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: Worker) -> None:
        """Close on the actors' loop."""
        _on_actors_loop(self.opened.__aexit__(None, None, None))


@asynccontextmanager
async def _open(settings: Settings, consumption: Consumption) -> AsyncIterator[None]:
    """Open the resources, and watch what operators pause."""

    def pause(names: frozenset[str]) -> None:
        consumption.pause_only([settings.named(name) for name in names])

    async with (
        open_resources(settings) as opened,
        watching_pauses(opened.database, pause),
    ):
        yield


class CountErrors(Middleware):
    """Counts failed messages and logs the totals of this process at the end."""

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        exception: BaseException | None = None,
        **_: Any,
    ) -> None:
        """Count a failure that isn't `RetryLater`."""
        if exception is not None and not isinstance(exception, RetryLater):
            ERRORS.inc()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: Worker) -> None:
        """Log the totals."""
        log.info("actors.stopped", **counts())


def _on_actors_loop(coroutine: Any) -> None:
    thread = get_event_loop_thread()
    assert thread is not None, "ActorsLoop comes first in the list"
    thread.run_coroutine(coroutine)


def cancel_start(broker: dramatiq.Broker) -> None:
    """Make a worker that is being started fail soon."""
    for middleware in broker.middleware:
        if isinstance(middleware, HoldResources):
            middleware.cancel_opening()


def unless_exhausted(tries: int, error: BaseException) -> bool:
    """Decide on a retry: always after `RetryLater`, else up to `MAX_TRIES`."""
    return isinstance(error, RetryLater) or tries < MAX_TRIES


def make_broker(settings: Settings) -> BoundedBroker | EmbeddedBroker:
    """Make the broker that the settings select. It connects with the first message."""
    consumption = Consumption()
    middleware: list[Middleware] = [
        ActorsLoop(),  # first, so that the loop stops last
        HoldResources(settings, consumption),
        consumption,
        CountErrors(),
        MeasureTimes(),
        ShutdownNotifications(),
        Retries(retry_when=unless_exhausted, min_backoff=1_000, max_backoff=600_000),
    ]
    if settings.rabbitmq_url:
        connecting = BoundedBroker(
            consumption,
            url=settings.rabbitmq_url,
            confirm_delivery=True,  # publisher confirms
            max_priority=MAX_PRIORITY,
            middleware=middleware,
        )
        connecting.parameters = connection_parameters(settings.rabbitmq_url)
        return connecting
    return EmbeddedBroker(consumption, middleware=middleware)


dramatiq.set_encoder(MessagePack())
broker: Final[BoundedBroker | EmbeddedBroker] = make_broker(settings())
dramatiq.set_broker(broker)


Work = Callable[..., Awaitable[None]]


def actor(*, scheduled: bool = False, **options: Any) -> Callable[[Work], dramatiq.Actor[..., Any]]:
    """Declare an actor. `Invalid` fails its message without a retry, `RetryLater` delays it.

    Args:
        scheduled: a timer sends its messages, so a failure is logged and counted, and neither
            retried nor dead-lettered.
        **options: options of `dramatiq.actor`.
    """

    def declare(work: Work) -> dramatiq.Actor[..., Any]:
        function = _once(work) if scheduled else work
        return dramatiq.actor(broker=broker, throws=Invalid, **options)(function)

    return declare


def _once(work: Work) -> Work:
    @wraps(work)
    async def attempt(*args: Any) -> None:
        try:
            await work(*args)
        except Exception as error:  # the timer sends the next message
            ERRORS.inc()
            log.warning("scheduled.failed", unit=work.__name__, reason=one_line(error))

    return attempt


def _heartbeat() -> None:
    """Answer RabbitMQ's heartbeats while nothing is sent."""
    if isinstance(broker, RabbitmqBroker) and hasattr(broker.state, "connection"):
        try:
            broker.connection.process_data_events(0)
        except Exception:  # pika raises anything while another thread closes the connection
            with suppress(Exception):
                del broker.connection  # the next message opens a new one


_sender: Final = Sender(_heartbeat)
_rabbitmq: Final = Outage("RabbitMQ")


async def enqueue(
    unit: dramatiq.Actor[..., Any], *args: Any, delay_ms: int = 0, priority: int = 0
) -> None:
    """Send one message; returns when the broker has stored it. Waits while RabbitMQ is unavailable.

    Args:
        unit: the actor.
        *args: its arguments, of types that MessagePack can encode.
        delay_ms: the minimum delay; a worker on RabbitMQ rounds it up to about a second.
        priority: 0 to MAX_PRIORITY, higher first; only RabbitMQ uses it.
    """
    message = unit.message_with_options(args=args, broker_priority=priority)
    for attempt in itertools.count():
        sending = _sender.submit(lambda: broker.enqueue(message, delay=delay_ms or None))
        try:
            await asyncio.wrap_future(sending)
        except UNAVAILABLE as error:
            _rabbitmq.failed(error)
            await asyncio.sleep(pause_s(attempt))
        else:
            _rabbitmq.worked()
            return


def pause_s(attempt: int) -> float:
    """Return the pause before the next attempt to reach RabbitMQ."""
    return min(0.1 * 2.0 ** min(attempt, 10), 5.0)
