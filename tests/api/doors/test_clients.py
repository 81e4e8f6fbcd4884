"""The clients in the README work, each as it stands there."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from tests.api.gateway import Writer, a_killmail
from tests.test_docs import PROJECT, blocks

README = PROJECT / "api" / "README.md"


async def test_each_client_prints_a_killmail(client: aiohttp.ClientSession, writer: Writer) -> None:
    address = str(client._base_url).rstrip("/")
    programs = blocks(README, "python")
    assert len(programs) == 6
    await writer.add(1000)
    async with asyncio.timeout(20), asyncio.TaskGroup() as running:
        tasks = [running.create_task(_first_line(one, address)) for one in programs]
        killmail_id = 1000
        while not all(task.done() for task in tasks):
            killmail_id += 1  # some begin at the end of the feed, when they are ready
            entries = await writer.store(a_killmail(killmail_id), zkb={"totalValue": 5e6})
            await writer.publish(*entries)
            await asyncio.wait(tasks, timeout=0.3)
    assert ["10" in task.result() for task in tasks] == [True] * len(tasks)


async def _first_line(program: str, address: str) -> str:
    """Run a program; return the first line that it prints, or what it complains of."""
    assert len([line for line in program.splitlines() if line.strip()]) <= 5, program
    program = program.replace("http://127.0.0.1:4000", address)
    program = program.replace("ws://127.0.0.1:4000", address.replace("http", "ws"))
    async with _started(program) as process:
        assert process.stdout
        line = await process.stdout.readline()
        return line.decode() or (await process.communicate())[0].decode()


@asynccontextmanager
async def _started(program: str) -> AsyncIterator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    arguments = (sys.executable, "-W", "error", "-c", program)
    process = await asyncio.create_subprocess_exec(
        *arguments, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
