"""Prometheus, as an operator runs it, against a running pipeline; and the Grafana board on it."""

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from actors.broker import ESI_QUEUE
from actors.shared.reference import Reference, encode_reference
from deploy.grafana.board import BOARD, board
from deploy.ports import free_port
from tests.deploy.test_alerts import HEALTHY
from tests.deploy.test_kubernetes import container
from tests.support.dead import a_message, declare, put
from tests.support.esi import standin
from tests.support.processes import killstream
from tests.support.prometheus import FOLDER, Prometheus, install, open_prometheus
from tests.support.servers import empty_servers

KILLMAILS = 10
TIMEOUT_S = 30


def test_the_board_is_the_generated_one() -> None:
    assert BOARD.read_text() == board(), "run `just board`"


def queries() -> list[tuple[str, str]]:
    """List title and expression of each panel."""
    return [
        (panel["title"], target["expr"])
        for panel in json.loads(BOARD.read_text())["panels"]
        for target in panel.get("targets", [])
    ]


def expressions_of_rules() -> list[str]:
    files = [
        yaml.safe_load((FOLDER / name).read_text()) for name in ("recording.yml", "alerts.yml")
    ]
    return [rule["expr"] for file in files for group in file["groups"] for rule in group["rules"]]


@pytest.fixture
async def ports(tmp_path: Path) -> AsyncIterator[dict[str, int]]:
    """The ports of a pipeline that has stored what the upstream has."""
    await install()
    ports = {job: free_port() for job in ("api", "streams", "actors")}
    async with empty_servers() as servers, standin(KILLMAILS) as upstream:
        changes = {
            "r2z2_url": upstream.url,
            "esi_url": upstream.url,
            "api_port": ports["api"],
        }

        def part(name: str) -> Any:
            settings = servers.model_copy(update=changes | {"metrics_port": ports[name]})
            return killstream(name, settings=settings, log=tmp_path / f"{name}.log")

        async with part("streams"), part("actors") as actors, part("api"):
            await actors.wait_for_output("ready")
            declare(servers)  # ready actors begin to consume one queue after the other
            put(servers, ESI_QUEUE, [to_fetch(upstream.playback.dataset.killmails[0])])
            yield ports


def to_fetch(killmail: Any) -> dict[str, Any]:
    """Make a message that has a body fetched from ESI."""
    reference = Reference(
        source="test",
        position=1,
        as_of=1.0,
        killmail_id=killmail.killmail_id,
        hash=killmail.killmail_hash,
    )
    args = [[encode_reference(reference)]]
    return a_message("fetch", "fetch", queue_name=ESI_QUEUE, args=args, options={})


@pytest.mark.service
async def test_targets_are_up_rules_evaluate_and_each_panel_has_series(
    ports: dict[str, int], tmp_path: Path
) -> None:
    async with open_prometheus(tmp_path, ports) as prometheus:
        await until_up(prometheus, len(ports))
        await every_query_finds_series(prometheus)
        rules = [
            rule for group in (await prometheus.get("rules"))["groups"] for rule in group["rules"]
        ]
        known = await names(ports)
        assert await answers_to_kubelet(ports) == {200}
        served = await labels(ports)
    unlike = {
        name: (sorted(wanted), served.get(name, set()))
        for name, wanted in map(split, HEALTHY)
        if name != "up" and frozenset(wanted) not in served.get(name, set())
    }
    assert unlike == {}, "the tests of the alerts use other labels than the processes"
    assert len(rules) == len(expressions_of_rules())
    assert [rule for rule in rules if rule["health"] != "ok" or rule.get("lastError")] == []
    used = {name for text in expressions_of_rules() for name in re.findall(r"killstream_\w+", text)}
    assert used <= known


async def until_up(prometheus: Prometheus, targets: int) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while len(await prometheus.query("up == 1")) < targets:
            await asyncio.sleep(0.2)


async def every_query_finds_series(prometheus: Prometheus) -> None:
    """Wait until each panel's query has found series; rates need two scrapes."""
    empty = queries()
    with suppress(TimeoutError):
        async with asyncio.timeout(TIMEOUT_S):
            while empty:
                found = [bool(await prometheus.query(expression)) for _, expression in empty]
                empty = [one for one, is_found in zip(empty, found, strict=True) if not is_found]
                await asyncio.sleep(0.2)
    assert empty == [], f"no series: {empty}"


async def answers_to_kubelet(ports: dict[str, int]) -> set[int]:
    """Request what Kubernetes' probes request; return the statuses."""
    paths = {
        (port, probe["httpGet"]["path"])
        for part, port in ports.items()
        for name, probe in container(part).items()
        if name.endswith("Probe")
    }
    statuses = set()
    async with aiohttp.ClientSession() as http:
        for port, path in paths:
            async with http.get(f"http://127.0.0.1:{port}{path}") as answer:
                statuses.add(answer.status)
    return statuses


def split(series: str) -> tuple[str, dict[str, str]]:
    """Split a series into its name and its labels."""
    return series.partition("{")[0], dict(re.findall(r'(\w+)="([^"]*)"', series))


async def scrape(port: int) -> list[tuple[str, dict[str, str], float]]:
    """Return name, labels and value of each series."""
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        lines = [line for line in (await answer.text()).splitlines() if not line.startswith("#")]
    pairs = (line.rsplit(" ", 1) for line in lines)
    return [(*split(series), float(value)) for series, value in pairs]


async def labels(ports: dict[str, int]) -> dict[str, set[frozenset[str]]]:
    """Return the sets of label names of each metric that the processes serve."""
    found: dict[str, set[frozenset[str]]] = defaultdict(set)
    for port in ports.values():
        for name, names, _ in await scrape(port):
            found[name].add(frozenset(names))
    return found


@pytest.mark.service
async def test_fresh_processes_serve_each_series_that_begins_at_0(tmp_path: Path) -> None:
    """Prometheus doesn't see the first event in a series that begins with it."""
    beginning = [split(series) for series, values in HEALTHY.items() if values.startswith("0")]
    assert beginning
    ports = {job: free_port() for job in ("streams", "actors")}
    async with empty_servers() as servers, AsyncExitStack() as stack:
        changes = {"source": "none", "esi_url": f"http://127.0.0.1:{free_port()}"}
        for part, port in ports.items():
            settings = servers.model_copy(update=changes | {"metrics_port": port})
            log = tmp_path / f"{part}.log"
            process = await stack.enter_async_context(killstream(part, settings=settings, log=log))
            await process.wait_for_output('"ready"')
        declare(servers)  # ready actors begin to consume one queue after the other
        served = [(name, names) for port in ports.values() for name, names, _ in await scrape(port)]
    missing = [
        (name, wanted)
        for name, wanted in beginning
        if not any(name == other and wanted.items() <= has.items() for other, has in served)
    ]
    assert missing == []


async def names(ports: dict[str, int]) -> set[str]:
    """Return the names of all metrics that the processes serve, also of those without values."""
    suffixes = {"histogram": ("_bucket", "_sum", "_count")}
    found: set[str] = set()
    async with aiohttp.ClientSession() as http:
        for port in ports.values():
            async with http.get(f"http://127.0.0.1:{port}/metrics") as answer:
                kinds = re.findall(r"^# TYPE (\w+) (\w+)$", await answer.text(), re.MULTILINE)
            found |= {name + end for name, kind in kinds for end in suffixes.get(kind, ("",))}
    return found
