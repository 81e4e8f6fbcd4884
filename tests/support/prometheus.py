"""Debian's Prometheus with the project's rules, on a test's own targets."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from deploy.local.install import find, install_packages, program
from deploy.ports import free_port, wait_until_listening

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
SCRAPE_S = 1


class Prometheus:
    """A running server's API."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = url
        self._http = http

    async def get(self, path: str, **parameters: str) -> Any:
        async with self._http.get(f"{self._url}/api/v1/{path}", params=parameters) as answer:
            body = await answer.json()
        assert body["status"] == "success", body
        return body["data"]

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an expression now."""
        found: list[dict[str, Any]] = (await self.get("query", query=expression))["result"]
        return found


async def install() -> None:
    """Install Debian's package, which has promtool, unless it is there."""
    if find("prometheus") is None:
        await asyncio.to_thread(install_packages, ["prometheus"])


def promtool(*arguments: str) -> str:
    """Run promtool; return its output, or fail with it."""
    done = subprocess.run(
        [program("promtool"), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@asynccontextmanager
async def open_prometheus(folder: Path, ports: Mapping[str, int]) -> AsyncIterator[Prometheus]:
    """Run Prometheus as the project's file configures it, with other ports and a fast pace."""
    configuration = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    configuration["global"] = dict.fromkeys(("scrape_interval", "evaluation_interval"), "1s")
    configuration["rule_files"] = [str(FOLDER / name) for name in configuration["rule_files"]]
    for job in configuration["scrape_configs"]:
        job["static_configs"] = [{"targets": [f"127.0.0.1:{ports[job['job_name']]}"]}]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration))
    port = free_port()
    with (folder / "prometheus.log").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            program("prometheus"),
            f"--config.file={file}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=output,
            stderr=output,
        )
    try:
        async with asyncio.timeout(20):
            await wait_until_listening("127.0.0.1", port)
        async with aiohttp.ClientSession() as http:
            url = f"http://127.0.0.1:{port}"
            await _until_ready(http, url)
            yield Prometheus(url, http)
    finally:
        process.terminate()
        await process.wait()


async def _until_ready(http: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(20):
        while True:
            async with http.get(f"{url}/-/ready") as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.1)
