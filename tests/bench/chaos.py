"""`just bench chaos`: killmails through R2Z2 while servers, processes and upstreams fail.

At random times, drawn from the seed: connections to each of the four servers fall silent, each
server is stopped (SIGSTOP), each process is killed and started anew, `streams` is restarted, files
come late or never, `sequence.json` is stale, ESI's answers are wrong for two minutes. At the end
each killmail is stored once, each subscriber that resumed has each one once, and the ledger is
empty. Exit code 1 if not; what is missing is explained before the last line.
"""

import argparse
import asyncio
import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.bench.report import report
from tests.support.chaos_run import ChaosOptions, run_chaos
from tests.support.killmails import REAL_COUNT, describe
from tests.support.servers import empty_servers


async def main() -> int:
    """Run once; give the exit code."""
    parser = argparse.ArgumentParser(prog="just bench chaos", description=__doc__)
    parser.add_argument("--killmails", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=200.0, help="killmails a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--times", type=int, default=1, help="how often each fault comes")
    parser.add_argument("--deadline", type=float, default=900, help="seconds until all is there")
    parser.add_argument("--logs", type=Path, help="where the processes' logs are left")
    arguments = parser.parse_args()
    options = ChaosOptions(
        killmails=min(arguments.killmails, REAL_COUNT),
        rate_per_s=arguments.rate,
        seed=arguments.seed,
        times=arguments.times,
        deadline_s=arguments.deadline,
    )
    print(describe())
    with tempfile.TemporaryDirectory() as folder:
        logs = arguments.logs or Path(folder)
        logs.mkdir(exist_ok=True, parents=True)
        async with empty_servers() as settings:
            verdict = await run_chaos(settings, logs, options, partial(print, flush=True))
    report("chaos", verdict)
    return 0 if verdict["ok"] else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
