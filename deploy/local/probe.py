"""What the probes share: one time limit, and two errors for all that clients raise."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.local.ports import HOST
from deploy.local.server import NotListening, Refused

ANSWER_WITHIN_S = 3.0


@contextmanager
def client_errors(port: int) -> Iterator[None]:
    """Check that something listens; turn what a client raises in the block into Refused.

    Raises:
        NotListening: nothing listens on the port.
        Refused: the client's error, whose text says the server's reason where it gave one.
    """
    try:
        socket.create_connection((HOST, port), timeout=ANSWER_WITHIN_S).close()
    except OSError as error:
        raise NotListening(f"nothing listens on {HOST}:{port}") from error
    try:
        yield
    except Refused:
        raise
    except TimeoutError as error:
        raise Refused(f"no answer within {ANSWER_WITHIN_S:.0f} s") from error
    except Exception as error:  # the bytes of another protocol raise anything in a client
        raise Refused(str(error) or repr(error)) from error
