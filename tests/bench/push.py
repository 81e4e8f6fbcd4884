"""`just bench push`: from the commit to the client, over GraphQL subscriptions.

Killmails reach the topic at a steady pace; each subscriber records when each one came.
"""

import argparse
import asyncio
import itertools
import tempfile
from pathlib import Path
from statistics import quantiles
from typing import Any

import uvloop
from aiokafka import AIOKafkaProducer
from sqlalchemy import select

from actors.shared.settings import Settings
from actors.shared.tables import FEED
from actors.shared.topics import RECEIVED, create_topics
from tests.bench.drain import standin
from tests.bench.report import report
from tests.support.killmails import describe, references
from tests.support.listeners import Listener, listen
from tests.support.pipeline import pipeline
from tests.support.processes import cpu_s
from tests.support.servers import empty_servers
from tests.support.waiting import within

DOCUMENT = """subscription {
  killmailAdded(maxAge: 36500) {
    sequence killmailId killmailTime victim { characterName shipTypeName }
  }
}"""
WARM_UP = 20
"""Killmails whose latency isn't counted: imports, plans, first names."""


async def push(
    settings: Settings, logs: Path, subscribers: int, rate_per_s: float, count: int
) -> dict[str, Any]:
    """Push `count` killmails to that many subscribers; give the latencies."""
    limits: dict[str, Any] = {
        "api_cost_per_minute": 10**9,
        "api_connections_per_client": 100_000,
    }
    async with pipeline(settings, logs, source="none", **limits) as pipe:
        came: list[tuple[int, float]] = []

        def took(_listener: Listener, sequences: list[int], now_s: float) -> None:
            came.extend((sequence, now_s) for sequence in sequences)

        clients = await listen(pipe.url, [{"query": DOCUMENT}] * subscribers, took)
        await create_topics(settings)
        producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap)
        await producer.start()
        for i, value in enumerate(itertools.islice(references(), WARM_UP + count)):
            await producer.send_and_wait(RECEIVED.name, value, key=str(i).encode())
            await asyncio.sleep(1 / rate_per_s)
        await producer.stop()
        async with within(60, lambda: f"{len(came)} came"):
            while any(client.count < WARM_UP + count for client in clients):
                await asyncio.sleep(0.05)
        used = {part: cpu_s([process.pid]) for part, process in pipe.running.items()}
        async with pipe.database.connect() as connection:
            rows = (await connection.execute(select(FEED.c.sequence, FEED.c.stored_at))).all()
        committed_s = {sequence: stored_at.timestamp() for sequence, stored_at in rows}
        latencies_ms = [
            (came_s - committed_s[sequence]) * 1000
            for sequence, came_s in came
            if sequence > WARM_UP
        ]
    cuts = quantiles(latencies_ms, n=1000)
    return {
        "push_p50_ms": round(cuts[499], 1),
        "push_p99_ms": round(cuts[989], 1),
        "push_max_ms": round(max(latencies_ms), 1),
        "deliveries": len(latencies_ms),
        "subscribers": subscribers,
        "rate_per_s": rate_per_s,
        "cpu_ms_per_killmail": {k: round(v * 1000 / (WARM_UP + count), 1) for k, v in used.items()},
    }


async def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(prog="just bench push", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=100)
    parser.add_argument("--rate", type=float, default=2.0, help="killmails a second")
    parser.add_argument("--killmails", type=int, default=120)
    arguments = parser.parse_args()
    print(describe())
    async with empty_servers() as settings, standin() as url:
        with tempfile.TemporaryDirectory() as logs:
            figures = await push(
                settings.model_copy(update={"esi_url": url}),
                Path(logs),
                arguments.subscribers,
                arguments.rate,
                arguments.killmails,
            )
    report("push", figures)


if __name__ == "__main__":
    uvloop.run(main())
