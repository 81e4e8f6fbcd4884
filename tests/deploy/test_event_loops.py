"""A process of a group whose event loop hangs ends by itself."""

import subprocess
import sys

from tests.support.processes import ROOT

HANGS = """
import asyncio, time
from deploy.event_loops import end_when_hanging

async def main():
    end_when_hanging(answer_s=0.2, resumed_s=0.2)
    await asyncio.sleep(1.0)
    print("lives", flush=True)
    time.sleep(60)

asyncio.run(main())
"""


def test_a_process_whose_event_loop_hangs_ends_with_an_error() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGS],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=30,
    )
    assert done.returncode == 1
    assert done.stdout.startswith("lives"), "it ends while its loop answers"
    assert "the main event loop doesn't answer" in done.stdout + done.stderr
