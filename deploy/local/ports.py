"""The address and the ports of the servers."""

import socket

from deploy.local.server import LocalServerError

HOST = "127.0.0.1"


PORTS_BESIDE = 2
"""How many ports a server takes above its own: Kafka's controller, RabbitMQ's two for Erlang."""
_STEP = 10


def next_free_port(first: int) -> int:
    """Return the first port from `first` upwards that nothing on this host holds.

    Raises:
        LocalServerError: 200 ports in a row are taken.
    """
    return _first_free(range(first, first + 200), beside=0)


def next_free_server_port(taken: int) -> int:
    """Return a port for a server whose own port is taken, with those beside it free too.

    It is a multiple of ten above `taken`, so that sets of servers that start at the same time
    don't take the ports beside each other's.

    Raises:
        LocalServerError: none of the next 100 is free.
    """
    return _first_free(range(taken + _STEP, taken + 100 * _STEP, _STEP), beside=PORTS_BESIDE)


def _first_free(ports: range, beside: int) -> int:
    for port in ports:
        if all(_is_free(one) for one in range(port, port + beside + 1)):
            return port
    raise LocalServerError(f"no free port from {ports[0]} to {ports[-1]}")


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((HOST, port))
        except OSError:
            return False
        return True
