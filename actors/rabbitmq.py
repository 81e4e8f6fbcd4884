"""RabbitMQ connection parameters that detect a silent server within seconds."""

import socket
from functools import partial
from ssl import SSLCertVerificationError
from typing import Final

import pika
from dramatiq.errors import ConnectionClosed
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from actors.shared.daemon import in_daemon
from actors.shared.errors import KillstreamError, Misconfigured, ServerUnavailable
from actors.shared.outage import one_line
from actors.shared.settings import Settings, masked
from actors.shared.startup import START_S, when_available

HEARTBEAT_S: Final = 5
"""A connection without data from the server for this and 5 s more is considered lost."""
ANSWER_S: Final = 5.0
"""Time limit for each step of connecting."""
BLOCKED_S: Final = 20.0
"""How long RabbitMQ may block a connection, as it does when disk or memory is full."""


REFUSED: Final = (
    AuthenticationError,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
    SSLCertVerificationError,
)
"""Permanent errors."""
UNAVAILABLE: Final = (
    ConnectionClosed,
    AMQPError,
    AMQPConnectorException,  # a handshake timeout; not a subclass of AMQPError
    OSError,  # TLS, DNS, sockets
)
"""What dramatiq and pika raise while RabbitMQ is unavailable."""


def connection_parameters(url: str) -> pika.URLParameters:
    """Parse an `amqp://` or `amqps://` URL; sets our limits where the URL sets none.

    TLS trusts the authorities in `SSL_CERT_FILE`, else the system's.
    """
    parameters = pika.URLParameters(url)
    if "heartbeat=" not in url:
        parameters.heartbeat = HEARTBEAT_S
    if "blocked_connection_timeout=" not in url:
        parameters.blocked_connection_timeout = BLOCKED_S
    parameters.socket_timeout = ANSWER_S
    parameters.stack_timeout = 2 * ANSWER_S
    if hasattr(socket, "TCP_KEEPIDLE"):  # Linux; with these pika sets SO_KEEPALIVE
        parameters.tcp_options = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
    return parameters


async def check_rabbitmq(settings: Settings, wait_s: float = START_S) -> None:
    """Check that RabbitMQ accepts a connection; waits for it up to `wait_s`.

    Raises:
        Misconfigured: it refuses the login or virtual host, or its certificate is untrusted.
        ServerUnavailable: it didn't answer in time.
    """
    where = f"RabbitMQ at {masked(settings.rabbitmq_url)}"

    def explain(error: Exception) -> KillstreamError | None:
        if isinstance(error, REFUSED):
            return Misconfigured(
                f"{where} refuses the connection: {one_line(error)}; correct"
                " KILLSTREAM_RABBITMQ_URL"
            )
        if isinstance(error, UNAVAILABLE):
            return ServerUnavailable(
                f"{where} can't be used: {one_line(error)}; start it, or correct"
                " KILLSTREAM_RABBITMQ_URL"
            )
        return None

    connect = partial(in_daemon, partial(_connect_once, settings.rabbitmq_url), "rabbitmq check")
    await when_available(where, connect, explain, wait_s=wait_s)


def _connect_once(url: str) -> None:
    pika.BlockingConnection(connection_parameters(url)).close()
