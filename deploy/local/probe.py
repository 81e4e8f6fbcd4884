"""The probes' time limit, and the mapping of clients' errors to two."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.local.ports import HOST
from deploy.local.server import NotListening, Refused

ANSWER_S = 3.0


@contextmanager
def client_errors(port: int) -> Iterator[None]:
    """Check that a server listens; map a client's errors in the block to `Refused`.

    Raises:
        NotListening: no server listens on the port.
        Refused: the client failed; with the client's message.
    """
    try:
        socket.create_connection((HOST, port), timeout=ANSWER_S).close()
    except OSError as error:
        raise NotListening(f"nothing listens on {HOST}:{port}") from error
    try:
        yield
    except Refused:
        raise
    except TimeoutError as error:
        raise Refused(f"no answer within {ANSWER_S:.0f} s") from error
    except Exception as error:  # another protocol's bytes can raise any error in a client
        raise Refused(str(error) or repr(error)) from error
