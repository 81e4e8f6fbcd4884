"""A worker with threads of their own for some queues, beside those that the other queues share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from queue import PriorityQueue
from typing import Any, Final

import dramatiq
from dramatiq import Worker
from dramatiq.common import q_name
from dramatiq.worker import WorkerThread

from actors.shared.errors import Misconfigured
from actors.shared.queues import Queue


@dataclass(frozen=True)
class Pool:
    """How a process consumes one queue."""

    concurrency: int
    """Messages that run at once."""
    prefetch: int
    """Messages that the process holds at most, those that run included."""


CONCURRENCY: Final[Mapping[Queue, int]] = {
    Queue.CHARACTERS: 10,
    Queue.CORPORATIONS: 5,
    Queue.ALLIANCES: 3,
    Queue.TYPES: 10,
    Queue.UNIVERSE: 1,
    Queue.HISTORY: 1,
}
"""The queues with threads of their own."""


def read_pools(concurrency: Sequence[str] = (), prefetch: Sequence[str] = ()) -> dict[Queue, Pool]:
    """Read options of the form `QUEUE=N`; the prefetch is twice the concurrency by default.

    Raises:
        Misconfigured: an option has another form, or names another queue.
    """
    threads = {**CONCURRENCY, **_read(concurrency)}
    held = _read(prefetch)
    return {
        queue: Pool(number, max(held.get(queue, 2 * number), number))
        for queue, number in threads.items()
    }


def _read(options: Sequence[str]) -> dict[Queue, int]:
    found = {}
    for option in options:
        name, _, number = option.partition("=")
        if name not in list(CONCURRENCY) or not number.isdecimal() or not 0 < int(number) <= 1000:
            names = ", ".join(CONCURRENCY)
            raise Misconfigured(f"{option!r} isn't QUEUE=NUMBER with one of {names}")
        found[Queue(name)] = int(number)
    return found


class PooledWorker(Worker):
    """Consumes each queue of `pools` with its own threads and prefetch."""

    def __init__(
        self, broker: dramatiq.Broker, *, pools: Mapping[str, Pool], **options: Any
    ) -> None:
        super().__init__(broker, **options)
        self._pools = {
            name: pool
            for name, pool in pools.items()
            if not self.consumer_whitelist or name in self.consumer_whitelist
        }
        self._work_queues: dict[str, PriorityQueue[Any]] = {
            name: PriorityQueue() for name in self._pools
        }

    def work_queue_of(self, queue_name: str) -> "PriorityQueue[Any]":
        """Return where the messages of a queue wait for a thread."""
        return self._work_queues.get(q_name(queue_name), self.work_queue)

    def start(self) -> None:
        """Start all threads."""
        super().start()
        for name, pool in self._pools.items():
            for _ in range(pool.concurrency):
                thread = WorkerThread(
                    broker=self.broker,
                    consumers=self.consumers,
                    work_queue=self._work_queues[name],
                    worker_timeout=self.worker_timeout,
                )
                thread.start()
                self.workers.append(thread)

    def _add_consumer(self, queue_name: str, *, delay: bool = False) -> None:
        """Start a consumer with what its queue has of its own; called by one thread at a time."""
        shared = self.work_queue, self.queue_prefetch
        pool = self._pools.get(q_name(queue_name))
        if pool:
            self.work_queue, self.queue_prefetch = self.work_queue_of(queue_name), pool.prefetch
        try:
            super()._add_consumer(queue_name, delay=delay)
        finally:
            self.work_queue, self.queue_prefetch = shared
