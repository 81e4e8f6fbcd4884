"""Middleware that measures how long messages wait for an actor, and how long the actor takes."""

import time
from typing import Any, Final

import dramatiq
from dramatiq.middleware import Middleware
from prometheus_client import Histogram

from actors.shared.queues import Queue
from actors.shared.settings import settings

QUEUED_AT: Final = "queued_at"
"""The message option with the time it was queued, in Unix seconds."""

WAIT: Final = Histogram(
    "killstream_queue_wait_seconds",
    "Time that a message waited in its queue, without the delay that its sender asked for. Rises:"
    " too few actors for this queue, or its limit is reached.",
    ["queue"],
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600),
)
for _queue in Queue:  # so that the first message is a rise, and not a new series
    WAIT.labels(queue=_queue.value)
DURATION: Final = Histogram(
    "killstream_message_duration_seconds",
    "Time that an actor took for one message. Rises: the server that it uses is slow.",
    ["actor"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300),
)


class MeasureTimes(Middleware):
    """Observes wait and duration of each message."""

    def __init__(self) -> None:
        self._began_s: dict[str, float] = {}

    def before_enqueue(
        self, broker: dramatiq.Broker, message: dramatiq.Message[Any], delay: int | None
    ) -> None:
        """Write down the time; a delayed message is queued a second time after its delay."""
        message.options[QUEUED_AT] = time.time()

    def before_process_message(
        self, broker: dramatiq.Broker, message: dramatiq.MessageProxy
    ) -> None:
        """Observe the wait. Messages of an older version don't have the time."""
        self._began_s[message.message_id] = time.monotonic()
        queued_at = message.options.get(QUEUED_AT)
        if isinstance(queued_at, int | float):
            WAIT.labels(queue=message.queue_name.removeprefix(settings().named(""))).observe(
                max(0.0, time.time() - queued_at)
            )

    def after_process_message(
        self, broker: dramatiq.Broker, message: dramatiq.MessageProxy, **_: Any
    ) -> None:
        """Observe the duration, also of a failure."""
        began_s = self._began_s.pop(message.message_id, None)
        if began_s is not None:
            DURATION.labels(actor=message.actor_name).observe(time.monotonic() - began_s)

    after_skip_message = after_process_message
