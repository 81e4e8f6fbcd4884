"""Redis, for rate limits, locks and the channel of the subscriptions; nothing is persistent."""

import asyncio
from pathlib import Path

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from deploy.local.install import program
from deploy.local.ports import HOST
from deploy.local.probe import ANSWER_S, client_errors
from deploy.local.server import Launch, Server


def probe(port: int) -> str:
    """Return the version."""
    with client_errors(port):
        return asyncio.run(_version(port))


async def _version(port: int) -> str:
    client = Redis(host=HOST, port=port, retry=Retry(NoBackoff(), retries=0))
    async with asyncio.timeout(ANSWER_S), client:
        info = await client.info("server")
        return str(info["redis_version"])


def prepare(home: Path, port: int) -> Launch:
    """Return a server without persistence, as its data is rebuilt after a restart."""
    home.mkdir(parents=True, exist_ok=True)
    options = {"bind": HOST, "port": str(port), "dir": str(home), "save": "", "appendonly": "no"}
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    return Launch([program("redis-server"), *flags])


SERVER = Server(
    name="redis",
    title="Redis",
    port=6379,
    setting="KILLSTREAM_REDIS_URL",
    url="redis://127.0.0.1:{port}/0",
    programs={"redis-server": "redis-server"},
    probe=probe,
    prepare=prepare,
)
