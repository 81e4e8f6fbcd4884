"""`killstream diagnose redis` against a Redis of its own."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from actors.shared.feed import CHANNEL, Entry, encode_entry, join_entries
from actors.shared.settings import Settings
from deploy.cli.diagnose.finding import Finding
from deploy.cli.diagnose.redis import redis_steps
from deploy.ports import free_port

KILLSTREAM = Path(sys.executable).with_name("killstream")


@contextmanager
def redis_server(directory: Path, *options: str) -> Iterator[str]:
    program = shutil.which("redis-server")
    assert program, "no redis-server: run `just services` first"
    port = free_port()
    command = [program, f"--port {port}", "--bind 127.0.0.1", "--save", "", f"--dir {directory}"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert any("Ready to accept connections" in line for line in process.stdout)
        yield f"127.0.0.1:{port}/0"
        process.kill()


async def findings(url: str, for_s: float = 0) -> list[Finding]:
    return [finding async for finding in redis_steps(Settings(redis_url=url), for_s)]


def entry(sequence: int) -> bytes:
    body = msgspec.Raw(b"{}")
    return encode_entry(Entry(sequence, "added", 1, "0" * 40, 1.0, body))


async def publish_when_heard(url: str, message: str) -> None:
    async with Redis.from_url(url) as redis:
        while not await redis.publish(CHANNEL, message):
            await asyncio.sleep(0.01)


@pytest.mark.service
async def test_a_redis_that_works_passes_each_step(tmp_path: Path) -> None:
    with redis_server(tmp_path) as place:
        url = f"redis://{place}"
        message = join_entries([entry(7), entry(8)])
        publishing = asyncio.create_task(publish_when_heard(url, message))
        found = await findings(url, for_s=2)
        await publishing
    assert [finding.step for finding in found] == [
        "environment",
        "PING",
        "publish/subscribe",
        f"channel {CHANNEL}",
    ]
    assert not any(finding.advice for finding in found)
    assert found[-1].result == "0 subscribed, 2 killmails in 2 s, the last sequence 8"


@pytest.mark.service
async def test_an_invalid_message_on_the_channel_fails(tmp_path: Path) -> None:
    with redis_server(tmp_path) as place:
        publishing = asyncio.create_task(publish_when_heard(f"redis://{place}", "hello"))
        found = await findings(f"redis://{place}", for_s=60)
        await publishing
    assert "isn't a killmail" in found[-1].result
    assert "CLIENT LIST" in found[-1].advice


@pytest.mark.service
async def test_a_wrong_password_is_reported_and_masked(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--requirepass right") as place:
        found = await findings(f"redis://:wrong@{place}")
        none_given = await findings(f"redis://{place}")
    assert [finding.step for finding in found] == ["environment", "PING"]
    assert "password" in found[-1].advice
    assert "password" in none_given[-1].advice
    assert "wrong" not in found[0].result


async def test_a_port_without_a_server_has_advice() -> None:
    found = await findings(f"redis://127.0.0.1:{free_port()}/0")
    assert [finding.step for finding in found] == ["environment", "PING"]
    assert "just services" in found[-1].advice


def test_command_fails_when_nothing_is_set() -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KILLSTREAM_")}
    done = subprocess.run(
        [KILLSTREAM, "diagnose", "redis"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    failed, advice = done.stdout.splitlines()
    assert failed.startswith("failed  environment")
    assert failed.endswith("KILLSTREAM_REDIS_URL is not set")
    assert "what to do: set KILLSTREAM_REDIS_URL=redis://" in advice
