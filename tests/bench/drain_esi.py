"""`just bench drain-esi`: killmails a second when each body is fetched from ESI.

First with 100 ms of latency and no limits; then with limits in a shrunken window, where the
stand-in counts the requests above the budget.
"""

import argparse
import asyncio
import itertools
from typing import Any

import aiohttp

from actors.shared.settings import Settings
from deploy.standin.faults import Faults
from deploy.standin.server import start_standin
from tests.bench.drain import drained, produce, standin
from tests.bench.report import report
from tests.support.killmails import describe, references, standin_options
from tests.support.servers import empty_servers

LATENCY_MS = 100
TOKENS, WINDOW_S = 600, 5


async def without_limits(count: int) -> dict[str, Any]:
    """Fetch as fast as ESI's latency allows."""
    async with empty_servers() as settings, standin(f"--esi-latency-ms={LATENCY_MS}") as url:
        changes = {"source": "none", "esi_url": url, "esi_killmail_tokens": 0}
        return await _fetched(settings.model_copy(update=changes), count)


async def within_limits(count: int) -> dict[str, Any]:
    """Fetch against a small budget; tell how often ESI had to refuse."""
    options = standin_options(
        esi_tokens=TOKENS, esi_window_s=WINDOW_S, faults=Faults(esi_latency_ms=LATENCY_MS)
    )
    served = await start_standin(options)
    try:
        async with empty_servers() as settings, aiohttp.ClientSession() as http:
            changes = {
                "source": "none",
                "esi_url": served.url,
                "esi_killmail_tokens": TOKENS,
                "esi_window_s": WINDOW_S,
            }
            figures = await _fetched(settings.model_copy(update=changes), count)
            async with http.get(f"{served.url}/standin/stats") as answer:
                esi = (await answer.json())["esi"]
    finally:
        await served.stop()
    return {
        "per_s": figures["per_s"],
        "budget_per_s": TOKENS / 2 / WINDOW_S,
        "refused": esi["refused"],
        "tokens_highest": esi["tokens_highest"],
        "tokens": TOKENS,
    }


async def _fetched(settings: Settings, count: int) -> dict[str, Any]:
    values = list(itertools.islice(references(with_body=False), count))
    await produce(settings, values)
    return await drained(settings, count)


async def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(prog="just bench drain-esi", description=__doc__)
    parser.add_argument("--killmails", type=int, default=10_000)
    parser.add_argument("--limited", type=int, default=1_000, help="killmails within limits")
    arguments = parser.parse_args()
    print(describe())
    free = await without_limits(arguments.killmails)
    figures = {"esi_per_s": free.pop("per_s"), "latency_ms": LATENCY_MS, **free}
    report("drain-esi", {**figures, "within_limits": await within_limits(arguments.limited)})


if __name__ == "__main__":
    asyncio.run(main())
