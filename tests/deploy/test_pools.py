"""Each queue of entities runs as many messages at once as it may, whatever the others do."""

import threading
import time
from collections import Counter
from collections.abc import Callable

import dramatiq
import pytest

from actors.consumption import Consumption
from actors.embedded_broker import EmbeddedBroker
from actors.shared.errors import Misconfigured
from actors.shared.queues import Queue
from deploy.pools import Pool, PooledWorker, read_pools

TIMEOUT_S = 10.0


def until(wanted: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not wanted():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_queue_runs_as_many_as_its_concurrency_and_holds_its_prefetch() -> None:
    consumption = Consumption()
    broker = EmbeddedBroker(consumption, middleware=[consumption])
    may_end = threading.Event()
    running: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    lock = threading.Lock()

    def slow(name: str) -> None:
        with lock:
            running[name] += 1
        may_end.wait(TIMEOUT_S)

    def quick(name: str) -> None:
        ended[name] += 1

    alliances = dramatiq.actor(broker=broker, queue_name="alliances", actor_name="slow")(slow)
    database = dramatiq.actor(broker=broker, queue_name="database", actor_name="quick")(quick)
    for _ in range(20):
        alliances.send("alliances")
    worker = PooledWorker(
        broker, pools={"alliances": Pool(3, 5)}, worker_threads=1, worker_timeout=50
    )
    worker.start()
    try:
        until(lambda: consumption.beats(["alliances"])["alliances"].unacked == 5)
        for _ in range(10):
            database.send("database")
        until(lambda: ended["database"] == 10)
        assert running["alliances"] == 3
        assert consumption.beats(["alliances"])["alliances"].unacked == 5
        assert broker.queues["alliances"].qsize() == 15
        consumption.pause_only(["alliances"])  # what no thread has begun goes back
        until(lambda: broker.queues["alliances"].qsize() == 17)
        consumption.pause_only([])
        may_end.set()
        until(lambda: running["alliances"] == 20)
    finally:
        may_end.set()
        worker.stop(5_000)


def test_queue_that_is_not_consumed_has_no_threads() -> None:
    broker = EmbeddedBroker(Consumption(), middleware=[])
    pools = {"types": Pool(10, 20)}
    worker = PooledWorker(broker, pools=pools, queues={"database"}, worker_threads=2)
    worker.start()
    threads = len(worker.workers)
    worker.stop(5_000)
    assert threads == 2


def test_options_change_concurrency_and_prefetch_of_one_queue() -> None:
    pools = read_pools(["types=4"], ["alliances=3", "types=1"])
    assert pools == {
        Queue.CHARACTERS: Pool(10, 20),
        Queue.CORPORATIONS: Pool(5, 10),
        Queue.ALLIANCES: Pool(3, 3),
        Queue.TYPES: Pool(4, 4),
        Queue.UNIVERSE: Pool(1, 2),
        Queue.HISTORY: Pool(1, 2),
    }


@pytest.mark.parametrize("option", ["types", "types=0", "types=x", "database=3", "=1"])
def test_wrong_option_is_refused(option: str) -> None:
    with pytest.raises(Misconfigured, match="QUEUE=NUMBER"):
        read_pools([option])
