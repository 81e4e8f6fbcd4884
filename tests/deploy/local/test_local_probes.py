"""Probes tell a server that is ours to use from silence, strangers and wrong credentials."""

import socket
import threading
from collections.abc import Iterator
from itertools import permutations
from types import ModuleType

import pytest

from deploy.local import control, kafka, postgres, rabbitmq, redis
from deploy.local.server import Refused, Server, Silent
from deploy.local.wire import next_free_port

MODULES: list[ModuleType] = [postgres, redis, rabbitmq, kafka]


@pytest.fixture
def rude_port() -> Iterator[int]:
    """Yield a port on which everybody is hung up on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_hang_up, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _hang_up(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.close()


def port_of(module: ModuleType) -> int:
    return control.look(module.SERVER).port


@pytest.mark.parametrize("server", control.SERVERS.values(), ids=lambda server: server.name)
def test_nobody_there_is_silence(server: Server) -> None:
    with pytest.raises(Silent):
        server.probe(next_free_port(20000))


@pytest.mark.parametrize("server", control.SERVERS.values(), ids=lambda server: server.name)
def test_a_hang_up_is_a_refusal(server: Server, rude_port: int) -> None:
    with pytest.raises(Refused):
        server.probe(rude_port)


def test_a_free_port_is_one_that_nobody_holds(rude_port: int) -> None:
    assert next_free_port(rude_port) > rude_port


@pytest.mark.service
@pytest.mark.parametrize("server", control.SERVERS.values(), ids=lambda server: server.name)
def test_a_server_tells_its_version(server: Server) -> None:
    found = control.look(server)
    assert found.state == "answers"
    assert found.said


@pytest.mark.service
@pytest.mark.parametrize(
    ("asking", "answering"),
    list(permutations(MODULES, 2)),
    ids=lambda module: module.SERVER.name,
)
def test_another_kind_of_server_is_a_refusal(asking: ModuleType, answering: ModuleType) -> None:
    with pytest.raises(Refused):
        asking.SERVER.probe(port_of(answering))


@pytest.mark.service
@pytest.mark.parametrize("module", [postgres, rabbitmq], ids=lambda module: module.SERVER.name)
def test_a_wrong_password_is_a_refusal(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PASSWORD", "wrong")
    with pytest.raises(Refused, match=r"password authentication failed|ACCESS_REFUSED"):
        module.SERVER.probe(port_of(module))


@pytest.mark.service
def test_a_virtual_host_that_is_not_there_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq, "VHOST", "elsewhere")
    with pytest.raises(Refused, match="elsewhere"):
        rabbitmq.SERVER.probe(port_of(rabbitmq))
