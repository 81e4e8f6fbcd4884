"""The address and the ports of the servers."""

import socket

from deploy.local.server import LocalServerError

HOST = "127.0.0.1"


EXTRA_PORTS = 3
"""Ports that a server uses above its own: one for Kafka's controller; for RabbitMQ two of Erlang's
and the management API's."""
_STEP = 10


def next_free_port(first: int) -> int:
    """Return the first free port from `first` upwards.

    Raises:
        LocalServerError: 200 ports in a row are in use.
    """
    return _first_free(range(first, first + 200), extra=0)


def next_free_server_port(taken: int) -> int:
    """Return a free port for a server whose port is in use; the next `EXTRA_PORTS` are free, too.

    It is a multiple of ten above `taken`, so that sets of servers that start at the same time don't
    use each other's extra ports.

    Raises:
        LocalServerError: none of the next 99 candidates is free.
    """
    return _first_free(range(taken + _STEP, taken + 100 * _STEP, _STEP), extra=EXTRA_PORTS)


def _first_free(ports: range, extra: int) -> int:
    for port in ports:
        if all(_is_free(one) for one in range(port, port + extra + 1)):
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
