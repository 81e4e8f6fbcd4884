"""What the worker of this process consumes: its queues, the messages it holds, and their counts."""

import time
from collections import Counter, defaultdict
from collections.abc import Collection
from queue import Empty, PriorityQueue
from threading import Lock
from typing import Any

import dramatiq
from dramatiq.common import q_name
from dramatiq.middleware import Middleware
from dramatiq.worker import Worker

from actors.shared.heartbeat import QueueBeat


class Consumption(Middleware):
    """Pauses queues of this process, and counts the messages that it holds and has processed.

    A consumer of a paused queue receives nothing: it gives back what no thread has begun, and
    keeps its connection for the acknowledgements of what is running. Delays go on: their messages
    return to the paused queue when they are due.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._paused: frozenset[str] = frozenset()
        self._held: dict[str, dict[str, int]] = defaultdict(dict)
        """By queue and message id, when it was sent (Unix time in ms)."""
        self._processed: Counter[str] = Counter()
        self._killmails: Counter[str] = Counter()
        self._worker: Worker | None = None

    def pause_only(self, queues: Collection[str]) -> None:
        """Pause these queues and resume all others."""
        self._paused = frozenset(queues)

    def is_paused(self, queue: str) -> bool:
        """Return whether this queue is to be left alone; a queue of delays never is."""
        return queue in self._paused

    def delivered(self, queue: str, message: dramatiq.MessageProxy) -> None:
        """Count a message as held."""
        with self._lock:
            self._held[queue][message.message_id] = int(message.message_timestamp)

    def forget(self, queue: str) -> None:
        """Count no message of this queue as held: its connection was closed."""
        with self._lock:
            self._held.pop(queue, None)

    def take_waiting(self, queue: str) -> list[dramatiq.MessageProxy]:
        """Remove the messages of a queue that no thread has begun, to be given back."""
        work = self._waiting(queue)
        others: list[Any] = []
        taken: list[Any] = []
        while work is not None:
            try:
                item = work.get_nowait()
            except Empty:
                break
            (taken if item.message.queue_name == queue else others).append(item)
        for item in others:
            work.put(item)  # type: ignore[union-attr]  # there are others: there is a queue
        for _ in taken + others:
            work.task_done()  # type: ignore[union-attr]
        with self._lock:
            for item in taken:
                self._held[queue].pop(item.message.message_id, None)
        return [item.message for item in taken]

    def beats(self, queues: Collection[str]) -> dict[str, QueueBeat]:
        """Describe these queues and their delays, as this process sees them."""
        names = {*queues, *(f"{queue}.DQ" for queue in queues)}
        with self._lock:
            return {name: self._beat(name) for name in names}

    def _beat(self, name: str) -> QueueBeat:
        sent_ms = self._held.get(name, {}).values()
        return QueueBeat(
            unacked=len(sent_ms),
            oldest_age_s=max(0.0, time.time() - min(sent_ms) / 1000) if sent_ms else None,
            processed=self._processed[name],
            killmails=self._killmails[name],
        )

    def before_worker_boot(self, broker: dramatiq.Broker, worker: Worker) -> None:
        """Find the messages that wait for a thread."""
        self._worker = worker

    def _waiting(self, queue: str) -> PriorityQueue[Any] | None:
        """Return where a queue's messages wait for a thread; it may have threads of its own."""
        if self._worker is None:
            return None
        of_queue = getattr(self._worker, "work_queue_of", None)
        return of_queue(queue) if of_queue else self._worker.work_queue

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        exception: BaseException | None = None,
        **_: Any,
    ) -> None:
        """Count what was processed without an error."""
        if exception is None:
            killmails = _killmails(message)
            with self._lock:
                self._killmails[q_name(message.queue_name)] += killmails

    def after_ack(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        """Count the message as processed."""
        self._ended(message)

    def after_nack(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        """Count the message as processed."""
        self._ended(message)

    def _ended(self, message: dramatiq.MessageProxy) -> None:
        with self._lock:
            self._held[message.queue_name].pop(message.message_id, None)
            self._processed[message.queue_name] += 1


def _killmails(message: dramatiq.MessageProxy) -> int:
    """Count the references of a message: its first argument, when that is a list of bytes."""
    first = message.args[0] if message.args else None
    if not isinstance(first, list):
        return 0
    return sum(isinstance(value, bytes) for value in first)
