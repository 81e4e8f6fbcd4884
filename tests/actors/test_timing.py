"""How long messages wait and take, measured on a broker in this process."""

import dramatiq
from dramatiq.brokers.stub import StubBroker
from prometheus_client import REGISTRY

from actors.timing import MeasureTimes

DELAY_MS = 300


def test_wait_and_duration_are_observed_without_the_delay() -> None:
    broker = StubBroker(middleware=[MeasureTimes()])
    worker = dramatiq.Worker(broker, worker_timeout=10, worker_threads=1)

    @dramatiq.actor(broker=broker, queue_name="measured")
    def measured() -> None:
        raise ValueError

    worker.start()
    try:
        broker.enqueue(measured.message(), delay=DELAY_MS)
        broker.join("measured", timeout=10_000, fail_fast=False)
    finally:
        worker.stop()
    assert sample("killstream_queue_wait_seconds_count", queue="measured") == 1
    assert sample("killstream_queue_wait_seconds_sum", queue="measured") < DELAY_MS / 1000
    assert sample("killstream_message_duration_seconds_count", actor="measured") == 1


def sample(name: str, **labels: str) -> float:
    value = REGISTRY.get_sample_value(name, labels)
    assert value is not None
    return value
