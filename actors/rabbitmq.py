"""RabbitMQ: how a connection is made, so that a server that goes silent is noticed in seconds."""

import asyncio
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

from actors.shared.errors import KillstreamError, Misconfigured, ServerUnavailable
from actors.shared.outage import one_line
from actors.shared.settings import Settings, masked
from actors.shared.startup import START_S, when_available

HEARTBEAT_S: Final = 5
"""A connection without a byte from the server for this and 5 s more counts as lost."""
ANSWER_S: Final = 5.0
"""How long connecting may take, and each step of it."""
BLOCKED_S: Final = 20.0
"""How long RabbitMQ may refuse to read, as it does when its disk or memory is full."""


REFUSED: Final = (
    AuthenticationError,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
    SSLCertVerificationError,
)
"""What waiting doesn't change."""
UNAVAILABLE: Final = (
    ConnectionClosed,
    AMQPError,
    AMQPConnectorException,  # a handshake that takes too long; pika doesn't count it as AMQPError
    OSError,  # TLS, names, sockets
)
"""What dramatiq and pika raise while RabbitMQ can't be used."""


def connection_parameters(url: str) -> pika.URLParameters:
    """Read an `amqp://` or `amqps://` URL; what it doesn't say gets our limits.

    TLS trusts what `SSL_CERT_FILE` names, else the system's authorities.
    """
    parameters = pika.URLParameters(url)
    if "heartbeat=" not in url:
        parameters.heartbeat = HEARTBEAT_S
    if "blocked_connection_timeout=" not in url:
        parameters.blocked_connection_timeout = BLOCKED_S
    parameters.socket_timeout = ANSWER_S
    parameters.stack_timeout = 2 * ANSWER_S
    if hasattr(socket, "TCP_KEEPIDLE"):  # Linux; pika sets SO_KEEPALIVE with these
        parameters.tcp_options = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
    return parameters


async def check_rabbitmq(settings: Settings, wait_s: float = START_S) -> None:
    """Make sure that RabbitMQ takes us; waits for it up to `wait_s`.

    Raises:
        Misconfigured: it refuses our login, our virtual host or its certificate is unknown.
        ServerUnavailable: it didn't answer.
    """
    where = f"RabbitMQ at {masked(settings.rabbitmq_url)}"

    def explain(error: Exception) -> KillstreamError | None:
        if isinstance(error, REFUSED):
            return Misconfigured(
                f"{where} refuses us: {one_line(error)}; correct KILLSTREAM_RABBITMQ_URL"
            )
        if isinstance(error, UNAVAILABLE):
            return ServerUnavailable(
                f"{where} can't be used: {one_line(error)}; start it, or correct"
                " KILLSTREAM_RABBITMQ_URL"
            )
        return None

    connect = partial(asyncio.to_thread, _connect_once, settings.rabbitmq_url)
    await when_available(where, connect, explain, wait_s=wait_s)


def _connect_once(url: str) -> None:
    pika.BlockingConnection(connection_parameters(url)).close()
