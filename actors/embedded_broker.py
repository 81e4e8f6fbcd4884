"""The broker whose queues are in this process."""

import time
from typing import Any

import dramatiq
import msgspec
from dramatiq.brokers.stub import StubBroker, _StubConsumer
from dramatiq.errors import QueueNotFound

from actors.consumption import Consumption
from actors.shared.heartbeat import QueueBeat


class EmbeddedBroker(StubBroker):
    """Holds the messages in memory; a paused queue isn't consumed."""

    def __init__(self, consumption: Consumption, **options: Any) -> None:
        super().__init__(**options)
        self.consumption = consumption

    def with_ready(self, beats: dict[str, QueueBeat]) -> dict[str, QueueBeat]:
        """Add the number of messages that are ready."""
        return {
            name: msgspec.structs.replace(beat, ready=self.queues[name].qsize())
            for name, beat in beats.items()
            if name in self.queues
        }

    def get_declared_queues(self) -> set[str]:
        """Return the queues without those of their delays."""
        return {name for name in self.queues if name not in self.delay_queues}

    def consume(
        self, queue_name: str, prefetch: int = 1, timeout: int = 100
    ) -> "_PausableConsumer":
        """Consume a queue."""
        if queue_name not in self.queues:
            raise QueueNotFound(queue_name)
        return _PausableConsumer(self, queue_name, prefetch, timeout)


class _PausableConsumer(_StubConsumer):
    def __init__(
        self, broker: EmbeddedBroker, queue_name: str, prefetch: int, timeout: int
    ) -> None:
        super().__init__(  # type: ignore[no-untyped-call]  # dramatiq's
            broker.queues[queue_name],
            broker.dead_letters_by_queue[queue_name],
            prefetch,
            timeout,
        )
        self._consumption, self._name = broker.consumption, queue_name
        self._is_paused = False

    def __next__(self) -> dramatiq.MessageProxy | None:
        """Wait for the next message; there is none while the queue is paused."""
        if self._consumption.is_paused(self._name):
            if not self._is_paused:
                self._is_paused = True
                self._give_back()
            time.sleep(self.timeout / 1000)
            return None
        self._is_paused = False
        message: dramatiq.MessageProxy | None = super().__next__()  # type: ignore[no-untyped-call]  # dramatiq's
        if message is not None:
            self._consumption.delivered(self._name, message)
        return message

    def _give_back(self) -> None:
        for message in self._consumption.take_waiting(self._name):
            self.queue.put(message._message.encode())
            self.queue.task_done()
            self.prefetch_semaphore.release()
