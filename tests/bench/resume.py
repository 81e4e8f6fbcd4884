"""`just bench resume`: clients that lose their connections again and again lose no killmail.

Killmails are stored by several actor processes; each client's connection is cut at random moments,
and it resumes after the last sequence that it got; Redis is killed and started again meanwhile.
Half of the clients have a filter.
"""

import argparse
import asyncio
import random
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import uvloop
from aiokafka import AIOKafkaProducer
from sqlalchemy import select

from actors.shared.settings import Settings
from actors.shared.tables import FEED, KILLMAILS
from actors.shared.topics import RECEIVED, create_topics
from tests.bench.drain import standin
from tests.bench.report import report
from tests.support.killmails import describe, references
from tests.support.listeners import Listener, connect_listener
from tests.support.pipeline import Pipeline, pipeline
from tests.support.redis_server import RedisServer
from tests.support.servers import empty_servers
from tests.support.waiting import within

FEW = 5
"""Attackers that a killmail has at most, for the clients with a filter."""
DOCUMENT = """subscription ($after: Long, $filter: KillmailFilter) {
  killmailAdded(after: $after, filter: $filter, maxAge: 36500) { killmailId sequence }
}"""


class Client:
    """Resumes whenever its connection is lost."""

    def __init__(self, url: str, breaks: int, seconds: float, *, filtered: bool) -> None:
        self.url = url
        self.filtered = filtered
        self.sequences: list[int] = []
        self.interruptions = 0
        self._breaks = sorted(random.random() * seconds for _ in range(breaks))

    def took(self, _listener: Listener, sequences: list[int], _now_s: float) -> None:
        """Note what came."""
        self.sequences += sequences

    async def run(self) -> None:
        """Follow the feed until cancelled; cut the connection at the times that were drawn."""
        started_s = time.monotonic()
        while True:
            variables: dict[str, Any] = {"after": self.sequences[-1] if self.sequences else 0}
            if self.filtered:
                variables["filter"] = {"maxAttackers": FEW}
            payload = {"query": DOCUMENT, "variables": variables}
            try:
                listener = await connect_listener(self.url, payload, self.took)
            except OSError:
                await asyncio.sleep(0.2)
                continue
            if self._breaks:
                wait_s = self._breaks.pop(0) - (time.monotonic() - started_s)
                await asyncio.wait([listener.lost], timeout=max(0.0, wait_s))
            else:
                await asyncio.wait([listener.lost])
            self.interruptions += 1
            listener.transport.abort()


async def resume(
    settings: Settings, logs: Path, redis: RedisServer, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Run once."""
    count, seconds = arguments.killmails, arguments.killmails / arguments.rate
    parts = ("api", "streams", *(f"actors-{n}" for n in range(arguments.actors)))
    async with pipeline(settings, logs, parts, source="none") as pipe:
        clients = [
            Client(pipe.url, arguments.breaks, seconds, filtered=number % 2 == 1)
            for number in range(arguments.clients)
        ]
        running = [asyncio.create_task(client.run()) for client in clients]
        restarts = asyncio.create_task(_restart(redis, seconds))
        await _produce(settings, count, arguments.rate)
        await restarts
        await pipe.until(lambda published: published >= count, 600)
        wanted = {filtered: await _wanted(pipe, filtered=filtered) for filtered in (False, True)}
        lacking = len(clients)

        def describe_lacking() -> str:
            return f"{lacking} clients lack killmails: {pipe.said()}"

        async with within(300, describe_lacking):
            while lacking := sum(len(one.sequences) < len(wanted[one.filtered]) for one in clients):
                await asyncio.sleep(0.2)
        for task in running:
            task.cancel()
    wrong = [one for one in clients if one.sequences != wanted[one.filtered]]
    return {
        "verdict": "bad" if wrong else "ok",
        "clients": len(clients),
        "wrong": len(wrong),
        "killmails": count,
        "of_filter": len(wanted[True]),
        "interruptions": sum(one.interruptions for one in clients),
    }


async def _produce(settings: Settings, count: int, rate_per_s: float) -> None:
    await create_topics(settings)
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap)
    await producer.start()
    started_s = time.monotonic()
    for number, value in enumerate(islice(references(), count)):
        await producer.send(RECEIVED.name, value, key=str(number).encode())
        if (ahead_s := number / rate_per_s - (time.monotonic() - started_s)) > 0.02:
            await asyncio.sleep(ahead_s)
    await producer.stop()


async def _restart(redis: RedisServer, seconds: float) -> None:
    for _ in range(2):
        await asyncio.sleep(seconds / 3)
        redis.kill()
        await asyncio.sleep(3)
        await asyncio.to_thread(redis.start)


async def _wanted(pipe: Pipeline, *, filtered: bool) -> list[int]:
    """Read from the tables which sequences a client has to get."""
    query = (
        select(FEED.c.sequence)
        .join(KILLMAILS, KILLMAILS.c.killmail_id == FEED.c.killmail_id)
        .where(FEED.c.kind == "added")
        .order_by(FEED.c.sequence)
    )
    if filtered:
        query = query.where(KILLMAILS.c.attacker_count <= FEW)
    async with pipe.database.connect() as connection:
        return list((await connection.execute(query)).scalars())


async def main() -> None:
    """Run once."""
    parser = argparse.ArgumentParser(prog="just bench resume", description=__doc__)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--breaks", type=int, default=20, help="of each client's connection")
    parser.add_argument("--killmails", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=200, help="killmails a second")
    parser.add_argument("--actors", type=int, default=4, help="actor processes")
    arguments = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory() as folder:
        redis = RedisServer(Path(folder))
        try:
            async with empty_servers() as settings, standin() as url:
                own = {"redis_url": f"redis://127.0.0.1:{redis.port}/0", "esi_url": url}
                limits = {"api_cost_per_minute": 10**9, "api_connections_per_client": 100_000}
                settings = settings.model_copy(update=own | limits)
                figures = await resume(settings, Path(folder), redis, arguments)
        finally:
            redis.kill()
    report("resume", figures)


if __name__ == "__main__":
    uvloop.run(main())
