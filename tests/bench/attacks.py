"""`just bench attacks`: what 200 honest subscribers feel while one client attacks the gateway.

Each attack runs for some seconds, from an address of its own, while real killmails are published.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import aiohttp
import numpy as np
from sqlalchemy import insert, select

from actors.shared.database import open_database
from actors.shared.settings import Settings
from actors.shared.tables import FEED_COUNTER, KILLMAILS
from api.connections import raise_open_files
from deploy.ports import free_port
from tests.api.gateway import row_of
from tests.api.test_documents import ATTACKS as DOCUMENTS
from tests.bench.fanout import SMALL, Load, encoded, publish, rss
from tests.bench.report import report
from tests.support.killmails import bodies, describe
from tests.support.listeners import Listener, frame, listen
from tests.support.pipeline import Pipeline
from tests.support.servers import empty_servers

HONEST: Final = 200
RATE_PER_S: Final = 20
STORED: Final = 1_000
REFUSED: Final = (OSError, aiohttp.ClientError, TimeoutError)
ATTACKER: Final = "127.0.0.2"

ATTACKERS = " ".join(f"a{n}: attackers {{ characterId }}" for n in range(55))
HEAVY = f"{{ killmails(first: 200) {{ nodes {{ {ATTACKERS} }} }} }}"
EXPENSIVE = f"{{ feed(after: 0, first: 1000) {{ entries {{ killmail {{ {ATTACKERS} }} }} }} }}"
INTROSPECTION = "{ __schema { types { name fields { name args { name } type { name } } } } }"
SUBSCRIPTION = f"subscription {{ killmailAdded {{ {SMALL} {ATTACKERS} }} }}"
PAST = f"subscription {{ killmailAdded(after: {-(2**63)}) {{ sequence }} }}"
ALIAS = "a" * 60


class Attack:
    """One attacker and its target."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self.http = http
        self.port = int(url.rpartition(":")[2])

    async def post(self, data: Any, content_type: str = "application/json") -> None:
        with suppress(*REFUSED):
            headers = {"Content-Type": content_type}
            async with self.http.post(f"{self.url}/graphql", data=data, headers=headers) as answer:
                await answer.read()

    async def ask(self, document: str) -> None:
        with suppress(*REFUSED):
            async with self.http.post(f"{self.url}/graphql", json={"query": document}) as answer:
                await answer.read()

    async def connect(self, sent: bytes = b"") -> asyncio.StreamWriter | None:
        with suppress(*REFUSED):
            _, writer = await asyncio.open_connection(
                "127.0.0.1", self.port, local_addr=(ATTACKER, 0)
            )
            writer.write(sent)
            return writer
        return None

    async def heavy(self) -> None:
        await asyncio.gather(*(self.ask(document) for document in [HEAVY] * 6 + [EXPENSIVE] * 6))

    async def introspection(self) -> None:
        await asyncio.gather(*(self.ask(INTROSPECTION) for _ in range(200)))

    async def validation(self) -> None:
        for document in DOCUMENTS.values():
            await self.ask(document)

    async def aliases(self) -> None:
        fields = " ".join(f"{ALIAS}{number}: killmailHash" for number in range(100))
        await self.ask(f"{{ killmails(first: 200) {{ nodes {{ {fields} }} }} }}")

    async def bodies(self) -> None:
        async def endless() -> Any:
            for _ in range(9_600):
                yield b" " * 65_536

        await asyncio.gather(*(self.post(endless()) for _ in range(4)))
        await self.post(b"[" * 1_000_000)
        await self.post(b'{"query":' * 100_000)
        await self.post(b"--x\r\n", "multipart/form-data; boundary=x")

    async def silence(self) -> None:
        opened = [await self.connect(b"POST /graphql" * (n % 2)) for n in range(1_100)]
        await asyncio.sleep(1)
        for writer in opened:
            if writer is not None:
                writer.transport.abort()

    async def subscriptions(self) -> None:
        with suppress(*REFUSED, aiohttp.WSMessageTypeError):
            async with self.http.ws_connect(
                f"{self.url}/graphql", protocols=["graphql-transport-ws"]
            ) as socket:
                await socket.send_json({"type": "connection_init"})
                await socket.receive_json()
                for number in range(49):
                    document = PAST if number % 2 else SUBSCRIPTION.replace("a0", f"b{number}")
                    message = {"type": "subscribe", "id": str(number)}
                    await socket.send_json(message | {"payload": {"query": document}})
                async with asyncio.timeout(3):
                    while True:
                        await socket.receive()

    async def fragments(self) -> None:
        """Send frames that are no messages."""
        writer = await self.connect(frame({"type": "x"}) * 1_000)
        await asyncio.sleep(0.1)
        if writer is not None:
            writer.transport.abort()


async def repeat(attack: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Attack again and again."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                await attack()
                await asyncio.sleep(0)


async def attack_once(url: str, name: str, seconds: float) -> None:
    """Run one attack, in a process of its own."""
    if name == "peace":
        await asyncio.sleep(seconds)
        return
    connector = aiohttp.TCPConnector(local_addr=(ATTACKER, 0), limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        await repeat(getattr(Attack(url, http), name), seconds)


class Waits(Load):
    """How late honest subscribers got what was published, with the time."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.came: list[tuple[float, float]] = []

    def took(self, listener: Listener, sequences: list[int], now_s: float) -> None:
        super().took(listener, sequences, now_s)
        self.came += [(now_s, now_s - self.due_s[one]) for one in sequences]

    def p99_ms(self, since_s: float, to_s: float) -> float:
        waits = [wait for came, wait in self.came if since_s <= came <= to_s]
        return round(float(np.percentile(waits, 99)) * 1000, 1) if waits else float("inf")


async def attacks(settings: Settings, logs: Path, seconds: float) -> dict[str, Any]:
    """Run each attack beside the honest."""
    settings = settings.model_copy(update={"api_port": free_port()})
    async with open_database(settings) as database:
        async with database.begin() as connection:
            feed_id = (await connection.execute(select(FEED_COUNTER.c.feed_id))).scalar_one()
            rows = [row_of(body, None) for body in list(bodies().values())[:STORED]]
            await connection.execute(insert(KILLMAILS), rows)
        pipe = Pipeline(settings, database, logs)
        await pipe.start("api")
        try:
            return await _attacked(settings, pipe, seconds, feed_id)
        finally:
            await pipe.stop("api")


async def _attacked(
    settings: Settings, pipe: Pipeline, seconds: float, feed_id: str
) -> dict[str, Any]:
    gateway = pipe.running["api"].pid
    names = [name for name in vars(Attack) if name not in ("post", "ask", "connect", "__init__")]
    names = ["peace", *(name for name in names if not name.startswith("_"))]
    count = int(RATE_PER_S * (seconds + 30) * len(names))
    waits = Waits(count)
    subscriptions = [{"query": f"subscription {{ killmailAdded {{ {SMALL} }} }}"}] * HONEST
    listeners = await listen(pipe.url, subscriptions, waits.took)
    alive = asyncio.create_task(_keep_alive(listeners))
    publishing = asyncio.create_task(publish(settings, waits, RATE_PER_S, encoded(count, feed_id)))
    await asyncio.sleep(2)
    figures: dict[str, Any] = {}
    for name in names:
        began_s = time.time()
        command = ("--attack", name, "--url", pipe.url, "--seconds", str(seconds))
        module = (sys.executable, "-m", "tests.bench.attacks")
        attacker = await asyncio.create_subprocess_exec(*module, *command)
        await attacker.wait()
        figures[name] = {
            "p99_ms": waits.p99_ms(began_s, time.time()),
            "rss_mb": round(rss(gateway) / 2**20),
        }
    publishing.cancel()
    alive.cancel()
    lost = [one.problem for one in listeners if one.problem]
    return {
        "attacks": figures,
        "worst_p99_ms": max(one["p99_ms"] for one in figures.values()),
        "rss_mb": max(one["rss_mb"] for one in figures.values()),
        "problems": (waits.problems + lost)[:3],
    }


async def _keep_alive(listeners: list[Listener]) -> None:
    """Ping the gateway, which closes what is silent for long."""
    while True:
        for one in listeners:
            one.transport.write(frame({"type": "ping"}))
        await asyncio.sleep(10)


async def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(prog="just bench attacks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="of each attack")
    parser.add_argument("--attack", help="run only this attack, on --url")
    parser.add_argument("--url")
    arguments = parser.parse_args()
    raise_open_files()
    os.sched_setaffinity(0, {1})
    if arguments.attack:
        await attack_once(arguments.url, arguments.attack, arguments.seconds)
        return
    print(describe())
    async with empty_servers() as settings:
        with tempfile.TemporaryDirectory() as logs:
            figures = await attacks(settings, Path(logs), arguments.seconds)
    report("attacks", figures)


if __name__ == "__main__":
    asyncio.run(main())
