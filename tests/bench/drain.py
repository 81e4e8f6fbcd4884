"""`just bench drain`: killmails a second, from a backlog and polled, stored and published.

One streams, one actors and one api process on real servers; all play the same killmails.
"""

import argparse
import asyncio
import contextlib
import itertools
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from sqlalchemy import func, select

from actors.shared.database import open_database
from actors.shared.settings import Settings
from actors.shared.tables import FEED
from actors.shared.topics import MAX_MESSAGE_BYTES, RECEIVED, create_topics
from deploy.ports import free_port
from tests.bench.report import report
from tests.support.killmails import describe, references, standin_arguments
from tests.support.processes import cpu_s, killstream, server_pids
from tests.support.servers import empty_servers
from tests.support.tables import PUBLISHED_COUNT

TIMEOUT_S = 600


async def from_backlog(count: int) -> dict[str, Any]:
    """Fill the topic first, then start the pipeline."""
    async with empty_servers() as settings, standin() as url:
        settings = settings.model_copy(update={"source": "none", "esi_url": url})
        values = list(itertools.islice(references(), count))
        await produce(settings, values)
        return await drained(settings, len(values))


async def polled(count: int) -> dict[str, Any]:
    """Poll each killmail from the stand-in, as fast as it goes."""
    async with empty_servers() as settings, standin() as url:
        settings = settings.model_copy(
            update={"r2z2_url": url, "esi_url": url, "r2z2_requests_per_s": 100_000.0}
        )
        return await drained(settings, count)


@contextlib.asynccontextmanager
async def standin(*more: str) -> AsyncIterator[str]:
    """Run the stand-in, without limits, on all killmails at once; give its URL."""
    port = free_port()
    with tempfile.TemporaryDirectory() as logs:
        arguments = [*standin_arguments(), f"--port={port}", "--no-limits", *more]
        log = Path(logs) / "standin.log"
        async with killstream("standin", *arguments, settings=Settings(), log=log) as process:
            await process.wait_for_output("stand-in at")
            yield f"http://127.0.0.1:{port}"


async def produce(settings: Settings, values: list[bytes]) -> None:
    """Put references on the topic."""
    await create_topics(settings)
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap,
        max_request_size=MAX_MESSAGE_BYTES,
        max_batch_size=1024 * 1024,
        linger_ms=5,
    )
    await producer.start()
    sent = [
        await producer.send(RECEIVED.name, value, key=str(i).encode())
        for i, value in enumerate(values)
    ]
    await asyncio.gather(*sent)
    await producer.stop()


async def drained(settings: Settings, count: int) -> dict[str, Any]:
    """Run the pipeline until `count` killmails are published; give the rate and the CPU used.

    The CPU of a process counts from when it is ready: that of its start is its own.
    """
    settings = settings.model_copy(update={"api_port": free_port()})
    with tempfile.TemporaryDirectory() as logs:
        folder = Path(logs)
        async with (
            killstream("api", settings=settings, log=folder / "api.log") as api,
            killstream("actors", settings=settings, log=folder / "actors.log") as actors,
        ):
            for part in (api, actors):
                await part.wait_for_output("ready")
            async with killstream("streams", settings=settings, log=folder / "s.log") as streams:
                pids = {"streams": [streams.pid], "actors": [actors.pid], "api": [api.pid]}
                pids |= server_pids()
                before = {name: cpu_s(some) for name, some in pids.items()}
                await streams.wait_for_output("ready")
                before["streams"] = cpu_s([streams.pid])
                rate, batch = await published_per_s(settings, count)
                used = {name: cpu_s(some) - before[name] for name, some in pids.items()}
    return {
        "killmails": count,
        "per_s": round(rate, 1),
        "killmails_per_transaction": round(batch, 1),
        "cpu_ms_per_killmail": {k: round(v * 1000 / count, 3) for k, v in used.items()},
        "cpu_ms_per_killmail_in_all": round(sum(used.values()) * 1000 / count, 3),
    }


async def published_per_s(settings: Settings, count: int) -> tuple[float, float]:
    """Wait until `count` entries are published.

    Gives the rate from the first stored to the last published, and the mean size of a transaction.
    """
    stored = select(func.min(FEED.c.stored_at), func.count(FEED.c.stored_at.distinct()))
    async with open_database(settings) as database, asyncio.timeout(TIMEOUT_S):
        while True:
            async with database.connect() as connection:
                done = (await connection.execute(PUBLISHED_COUNT)).scalar_one()
                now = datetime.now(UTC)
                if done >= count:
                    first, transactions = (await connection.execute(stored)).one()
                    seconds: float = (now - first).total_seconds()
                    return count / seconds, count / transactions
            await asyncio.sleep(0.1)


async def main() -> None:
    """Measure both ways."""
    parser = argparse.ArgumentParser(prog="just bench drain", description=__doc__)
    parser.add_argument("--killmails", type=int, default=57_959)
    parser.add_argument("--only", choices=["backlog", "polled"])
    arguments = parser.parse_args()
    print(describe())
    figures: dict[str, Any] = {}
    for way, run in {"backlog": from_backlog, "polled": polled}.items():
        if arguments.only in (None, way):
            result = await run(arguments.killmails)
            figures[f"{way}_per_s"] = result.pop("per_s")
            figures[way] = result
    report("drain", figures)


if __name__ == "__main__":
    asyncio.run(main())
