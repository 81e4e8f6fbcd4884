"""`just bench fanout`: how many results of subscriptions one gateway process delivers.

Real killmails reach the gateway by Redis, as the actors publish them; each client checks that every
result came, in order. Latency is from the time at which an entry was due. The gateway has one core,
the clients another.
"""

import argparse
import asyncio
import itertools
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import uvloop
from sqlalchemy import select

from actors.shared.database import open_database
from actors.shared.events import open_events
from actors.shared.feed import CHANNEL, Entry, encode_entry, join_entries
from actors.shared.killmail import parse_killmail
from actors.shared.settings import Settings
from actors.shared.tables import FEED_COUNTER
from deploy.ports import free_port
from tests.bench.report import report
from tests.support.killmails import bodies, describe
from tests.support.listeners import Listener, listen
from tests.support.pipeline import Pipeline
from tests.support.processes import cpu_s
from tests.support.servers import empty_servers

SMALL = "sequence killmailId killmailTime victim { characterName shipTypeName }"
LARGE = (
    SMALL[:-1] + " corporationName damageTaken items { itemTypeId flag quantityDestroyed } } "
    "attackers { characterName corporationName shipTypeName weaponTypeName finalBlow damageDone }"
)
VARIANTS = ("solarSystemId", "killmailHash", "attackerCount", "warId", "moonId", "solarSystemName")


def subscriptions(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Make the clients' subscriptions: so many distinct ones, by document and by filter."""
    made = []
    fields = LARGE if arguments.large else SMALL
    for number in range(arguments.clients):
        kind = number % arguments.distinct
        more = " ".join(one for bit, one in enumerate(VARIANTS) if kind >> bit & 1)
        after = "after: $after, " if arguments.own_after else ""
        head = "subscription ($after: Long) " if arguments.own_after else "subscription "
        document = (
            f"{head}{{ killmailAdded({after}filter: {{ maxAttackers: {10_000 + kind} }})"
            f" {{ {fields} {more} }} }}"
        )
        payload: dict[str, Any] = {"query": document}
        if arguments.own_after:
            payload["variables"] = {"after": 0, "own": number}
        made.append(payload)
    return made


class Load:
    """What is published, and what came."""

    def __init__(self, count: int) -> None:
        self.due_s = np.zeros(count + 1)
        """By sequence."""
        self.latencies: list[np.ndarray[Any, Any]] = []
        self.problems: list[str] = []

    def took(self, listener: Listener, sequences: list[int], now_s: float) -> None:
        """Check what a client got, and note how late it was."""
        first = listener.last + 1
        if sequences != list(range(first, first + len(sequences))):
            self.problems.append(f"after {listener.last} came {sequences[:5]}")
        self.latencies.append(now_s - self.due_s[sequences])


def encoded(count: int, feed_id: str) -> list[bytes]:
    """Make entries of real killmails, as the actors publish them."""
    made = []
    for number, body in zip(range(1, count + 1), itertools.cycle(bodies().values()), strict=False):
        killmail = parse_killmail(body)
        entry = Entry(
            sequence=number,
            kind="added",
            killmail_id=killmail.killmail_id,
            hash="a" * 40,
            stored_at=time.time(),
            killmail=msgspec.Raw(body),
            feed_id=feed_id,
            names={killmail.victim.ship_type_id: "A ship of some name"},
        )
        made.append(encode_entry(entry))
    return made


async def publish(settings: Settings, load: Load, rate: float, entries: list[bytes]) -> None:
    """Publish entries at a rate, those that are due in one message."""
    count = len(entries)
    async with open_events(settings) as events:
        start_s = time.time() + 0.5
        load.due_s[1:] = start_s + np.arange(count) / rate
        sent = 0
        while sent < count:
            due = min(count, int((time.time() - start_s) * rate) + 1)
            if due > sent:
                await events.publish(CHANNEL, join_entries(entries[sent:due]))
                sent = due
            else:
                await asyncio.sleep(min(1 / rate, 0.005))


def rss(pid: int) -> int:
    """Return the memory of a process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def fanout(settings: Settings, logs: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run once."""
    count = int(arguments.rate * arguments.seconds)
    settings = settings.model_copy(
        update={
            "api_port": free_port(),
            "api_cost_per_minute": 10**9,
            "api_connections_per_client": 100_000,
        }
    )
    async with open_database(settings) as database:
        async with database.connect() as connection:
            feed_id = (await connection.execute(select(FEED_COUNTER.c.feed_id))).scalar_one()
        pipe = Pipeline(settings, database, logs)
        await pipe.start("api")
        try:
            gateway = pipe.running["api"].pid
            for thread in os.listdir(f"/proc/{gateway}/task"):
                os.sched_setaffinity(int(thread), {0})
            os.sched_setaffinity(0, {1})
            load = Load(count)
            before = rss(gateway)
            started_s = time.time()
            listeners = await listen(pipe.url, subscriptions(arguments), load.took)
            connected_s = time.time() - started_s
            await asyncio.sleep(1)
            idle_bytes = (rss(gateway) - before) / arguments.clients
            used_s = cpu_s([gateway])
            entries = encoded(count, feed_id)
            own_cpu_s = time.process_time()
            await publish(settings, load, arguments.rate, entries)
            deadline_s = time.time() + 60
            while any(one.count < count for one in listeners) and time.time() < deadline_s:
                await asyncio.sleep(0.05)
            took_s = time.time() - load.due_s[1]
            used_s = cpu_s([gateway]) - used_s
            client_s = time.process_time() - own_cpu_s
            peak = rss(gateway)
        finally:
            await pipe.stop("api")
    lost = sum(count - one.count for one in listeners)
    problems = load.problems + [one.problem for one in listeners if one.count < count][:3]
    latencies_ms = np.concatenate(load.latencies) * 1000
    p50, p99, worst = np.percentile(latencies_ms, [50, 99, 100])
    deliveries = len(latencies_ms)
    return {
        "clients": arguments.clients,
        "distinct": arguments.distinct,
        "own_after": arguments.own_after,
        "offered_per_s": round(arguments.rate * arguments.clients),
        "delivered_per_s": round(deliveries / took_s),
        "p50_ms": round(p50, 1),
        "p99_ms": round(p99, 1),
        "max_ms": round(worst, 1),
        "lost": lost,
        "problems": problems[:3],
        "gateway_cpu_us": round(used_s / deliveries * 1e6, 2),
        "gateway_core": round(used_s / took_s, 2),
        "client_core": round(client_s / took_s, 2),
        "idle_kb": round(idle_bytes / 1024, 1),
        "connected_per_s": round(arguments.clients / connected_s),
        "rss_mb": round(peak / 2**20),
    }


async def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(prog="just bench fanout", description=__doc__)
    parser.add_argument("--clients", type=int, default=1_000)
    parser.add_argument("--distinct", type=int, default=10, help="distinct subscriptions")
    parser.add_argument("--rate", type=float, default=200, help="killmails a second")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--large", action="store_true", help="results of some 2 kB")
    parser.add_argument(
        "--own-after", action="store_true", help="each client with its own variables"
    )
    arguments = parser.parse_args()
    print(describe())
    async with empty_servers() as settings:
        with tempfile.TemporaryDirectory() as folder:
            figures = await fanout(settings, Path(folder), arguments)
    report("fanout", figures)


if __name__ == "__main__":
    uvloop.run(main())
