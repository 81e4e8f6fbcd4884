"""The outermost bound of a process: it ends in time though nothing in it does."""

import asyncio
import signal
import sys
import time

import pytest

from tests.support.servers import ROOT

PROCESS = """
import asyncio, time
from deploy.cli.process import run

async def main(settings, stop):
    asyncio.current_task().set_name("the part")
    print("running", flush=True)
    {work}

run("tests", main, limit_s=0.5)
"""
STUCK = {
    "loop": "time.sleep(60)",
    "task": "await asyncio.Event().wait()",
    "thread": "await asyncio.to_thread(time.sleep, 60)",
}


@pytest.mark.parametrize("work", STUCK.values(), ids=STUCK)
async def test_what_does_not_end_is_left_and_named(work: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROCESS.format(work=work),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout
    try:
        async with asyncio.timeout(30):
            while b"running" not in await process.stdout.readline():
                pass
            began_s = time.monotonic()
            process.send_signal(signal.SIGTERM)
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert time.monotonic() - began_s < 5
    assert process.returncode == 1
    (line,) = [line for line in output.decode().splitlines() if "shutdown.abandoned" in line]
    assert "not finished 0.5 s after" in line
    last = output.decode().splitlines()[-1]
    assert last.startswith("tests: ")
    assert "runtime_s" in last
    if "Event" in work:
        assert "the part in Event.wait" in line
