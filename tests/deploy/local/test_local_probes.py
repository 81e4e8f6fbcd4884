"""Probes tell an available server from a free port, other protocols and wrong credentials."""

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from types import ModuleType

import pytest

from deploy.local import control, kafka, postgres, rabbitmq, redis
from deploy.local.ports import EXTRA_PORTS, next_free_port, next_free_server_port
from deploy.local.server import NotListening, Refused, Server
from tests.deploy.local.listeners import hang_up, listening, speak_http

MODULES: list[ModuleType] = [postgres, redis, rabbitmq, kafka]
EACH_SERVER = pytest.mark.parametrize(
    "server", control.SERVERS.values(), ids=lambda server: server.name
)


def port_of(module: ModuleType) -> int:
    return control.inspect(module.SERVER).port


@EACH_SERVER
def test_a_free_port_is_not_listening(server: Server) -> None:
    with pytest.raises(NotListening):
        server.probe(next_free_port(20000))


@EACH_SERVER
@pytest.mark.parametrize("answer", [hang_up, speak_http])
def test_another_protocol_is_refused(
    server: Server, answer: Callable[[socket.socket], None]
) -> None:
    with listening(answer) as port, pytest.raises(Refused):
        server.probe(port)


def refusal(server: Server, port: int) -> str:
    with pytest.raises(Refused) as raised:
        server.probe(port)
    return str(raised.value)


def test_a_silent_server_is_refused_within_seconds() -> None:
    """All four at once: each probe waits for its limit."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        port = listener.getsockname()[1]
        started = time.monotonic()
        with ThreadPoolExecutor() as threads:
            reasons = threads.map(lambda server: refusal(server, port), control.SERVERS.values())
            assert all(reasons)
        assert time.monotonic() - started < 6


def test_a_free_port_is_not_in_use() -> None:
    with listening(hang_up) as port:
        assert next_free_port(port) > port


def test_another_port_of_a_server_has_free_extra_ports() -> None:
    first = next_free_server_port(22000)
    with socket.create_server(("127.0.0.1", first + EXTRA_PORTS)):
        second = next_free_server_port(22000)
    assert second > first
    assert first % 10 == second % 10 == 0


@pytest.mark.service
@EACH_SERVER
def test_an_available_server_has_a_version(server: Server) -> None:
    found = control.inspect(server)
    assert found.state == "available"
    assert found.detail


@pytest.mark.service
def test_another_kind_of_server_refuses() -> None:
    """All pairs at once: some wait for the limit."""
    ports = {module: port_of(module) for module in MODULES}
    pairs = list(permutations(MODULES, 2))
    with ThreadPoolExecutor(len(pairs)) as threads:
        reasons = threads.map(lambda pair: refusal(pair[0].SERVER, ports[pair[1]]), pairs)
        assert all(reasons)


@pytest.mark.service
@pytest.mark.parametrize("module", [postgres, rabbitmq], ids=lambda module: module.SERVER.name)
def test_a_wrong_password_is_refused(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PASSWORD", "wrong")
    with pytest.raises(Refused, match=r"password authentication failed|ACCESS_REFUSED"):
        module.SERVER.probe(port_of(module))


@pytest.mark.service
def test_an_absent_virtual_host_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq, "VHOST", "elsewhere")
    with pytest.raises(Refused, match="elsewhere"):
        rabbitmq.SERVER.probe(port_of(rabbitmq))
