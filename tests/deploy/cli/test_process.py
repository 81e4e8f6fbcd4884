"""What every command does at its start."""

import subprocess
import sys

from tests.support.servers import ROOT

PROCESS = """
import gc
from deploy.cli.process import configure

configure()
before = gc.get_stats()[0]["collections"]
batch = [[number] for number in range(20_000)]
print("collections:", gc.get_stats()[0]["collections"] - before)
"""


def test_a_batch_of_killmails_is_made_without_looking_for_cycles_in_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROCESS],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
        timeout=30,
    )
    collections = int(done.stdout.partition("collections: ")[2].split()[0])
    assert collections <= 1
