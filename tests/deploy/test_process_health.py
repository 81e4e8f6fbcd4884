"""`/health/live` and `/health/ready` on the port of a process's metrics."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from dramatiq.asyncio import EventLoopThread

from actors.shared.health.facts import Embedded
from actors.shared.settings import Settings
from actors.shared.supervisor import READY, STOPPING, notify
from deploy.metrics import serving_metrics
from deploy.ports import free_port
from deploy.process_health import ProcessHealth
from deploy.server_probes import SERVERS, Part, ServerProbes, probe_servers
from tests.support.proxy import Proxy, open_proxy
from tests.support.servers import empty_servers

ANSWER_S = 0.3
TIMEOUT_S = 10

Answer = tuple[int, dict[str, object]]


def request(port: int, path: str) -> Answer:
    """Request as Kubernetes does, from outside of the event loop."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, json.load(answer)
    except HTTPError as refused:
        return refused.code, json.load(refused)


async def ask(settings: Settings, path: str) -> Answer:
    return await asyncio.to_thread(request, settings.metrics_port, path)


@pytest.fixture
def embedded() -> Settings:
    """Settings without servers; what asks for them has nothing to ask."""
    return Settings(metrics_port=free_port())


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """Leave no process that counts as started, as every other test begins."""
    notify(STOPPING)
    yield
    notify(STOPPING)


@pytest.fixture
async def proxied() -> AsyncIterator[tuple[Settings, dict[str, Proxy]]]:
    """Each server behind a proxy."""
    async with empty_servers() as servers, AsyncExitStack() as stack:
        urls = {server: getattr(servers, f"{server}_url") for server in SERVERS}
        proxies = {
            server: await stack.enter_async_context(open_proxy(url)) for server, url in urls.items()
        }
        behind = {f"{server}_url": proxies[server].url(url) for server, url in urls.items()}
        yield servers.model_copy(update={**behind, "metrics_port": free_port()}), proxies


@pytest.mark.service
async def test_a_process_is_ready_while_each_server_answers(
    proxied: tuple[Settings, dict[str, Proxy]],
) -> None:
    settings, proxies = proxied
    servers = ServerProbes(settings, partial(probe_servers, limit_s=1.0), fresh_s=0.0)
    with serving_metrics(settings, ProcessHealth(servers)):
        notify(READY)
        assert await ask(settings, "/health/ready") == (200, {"ready": True, "reasons": []})
        for server, proxy in proxies.items():
            proxy.go_silent()
            reasons = [f"{server} doesn't answer"]
            answer = await ask(settings, "/health/ready")
            assert answer == (503, {"ready": False, "reasons": reasons})
            assert (await ask(settings, "/health/live"))[0] == 200, "a restart wouldn't help"
            proxy.resume()
        assert (await ask(settings, "/health/ready"))[0] == 200


async def test_a_process_is_not_ready_before_it_has_started_and_when_it_ends(
    embedded: Settings,
) -> None:
    async def is_ready() -> bool:
        return (await ask(embedded, "/health/ready"))[0] == 200

    with serving_metrics(embedded, ProcessHealth(ServerProbes(embedded, nothing_to_probe))):
        assert not await is_ready()
        notify(READY)
        assert await is_ready()
        notify(STOPPING)
        assert not await is_ready()
        assert (await ask(embedded, "/health/live"))[0] == 200


async def test_a_process_whose_event_loop_hangs_does_not_live(embedded: Settings) -> None:
    with serving_metrics(embedded, hasty_health(embedded)), ThreadPoolExecutor(1) as executor:
        assert (await ask(embedded, "/health/live")) == (200, {"live": True, "reasons": []})
        asking = executor.submit(request, embedded.metrics_port, "/health/live")
        answer = asking.result(timeout=TIMEOUT_S)  # this loop hangs until the answer
        assert answer == (503, {"live": False, "reasons": ["the main event loop doesn't answer"]})
        assert (await ask(embedded, "/health/live"))[0] == 200


async def test_actors_whose_own_event_loop_hangs_do_not_live(
    embedded: Settings, actors_loop: EventLoopThread
) -> None:
    with serving_metrics(embedded, hasty_health(embedded)):
        goes_on = threading.Event()
        actors_loop.loop.call_soon_threadsafe(goes_on.wait, TIMEOUT_S)
        answer = await ask(embedded, "/health/live")
        assert answer == (503, {"live": False, "reasons": ["the actors event loop doesn't answer"]})
        goes_on.set()
        assert (await ask(embedded, "/health/live"))[0] == 200


async def test_metrics_are_served_beside(embedded: Settings) -> None:
    def metrics() -> str:
        with urlopen(f"http://127.0.0.1:{embedded.metrics_port}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    with serving_metrics(embedded, hasty_health(embedded)):
        assert "killstream_errors_total" in await asyncio.to_thread(metrics)


def hasty_health(settings: Settings) -> ProcessHealth:
    return ProcessHealth(ServerProbes(settings, nothing_to_probe), answer_s=ANSWER_S)


async def nothing_to_probe(_settings: Settings) -> tuple[Part, Part, Part, Part]:
    return Embedded(), Embedded(), Embedded(), Embedded()
