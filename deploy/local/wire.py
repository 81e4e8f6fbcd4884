"""The few socket helpers that the probes share."""

import socket
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager

from deploy.local.server import Refused, Silent

HOST = "127.0.0.1"
_ANSWER_WITHIN_S = 3.0


@contextmanager
def conversation(port: int) -> Iterator[socket.socket]:
    """Open a connection to a local port for one probe.

    Raises:
        Silent: nothing listens.
        Refused: the other side hung up, said nothing in time, or spoke another protocol.
    """
    try:
        connection = socket.create_connection((HOST, port), timeout=_ANSWER_WITHIN_S)
    except OSError as error:
        raise Silent(f"nothing listens on {HOST}:{port}") from error
    with closing(connection):
        try:
            yield connection
        except TimeoutError as error:
            raise Refused("no answer in time") from error
        except (OSError, struct.error, ValueError, IndexError, KeyError) as error:
            raise Refused(f"an unexpected answer ({error})") from error


def read_exactly(connection: socket.socket, size: int) -> bytes:
    """Read `size` bytes; a connection that ends earlier is Refused."""
    chunks = bytearray()
    while len(chunks) < size:
        chunk = connection.recv(size - len(chunks))
        if not chunk:
            raise Refused("it closed the connection")
        chunks += chunk
    return bytes(chunks)


def read_sized(connection: socket.socket, size: int) -> bytes:
    """Read a body whose announced size must be sane: another protocol's bytes read as gigabytes."""
    if not 0 <= size <= 1 << 20:
        raise Refused("it speaks another protocol")
    return read_exactly(connection, size)


def next_free_port(first: int) -> int:
    """Return the first port from `first` upwards that nothing on this host holds."""
    for port in range(first, first + 200):
        with socket.socket() as candidate:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind((HOST, port))
            except OSError:
                continue
            return port
    raise Refused(f"no free port from {first} to {first + 199}")
