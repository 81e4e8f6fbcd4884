"""RabbitMQ: how a connection is made, so that a server that goes silent is noticed in seconds."""

import socket
from typing import Final

import pika

HEARTBEAT_S: Final = 5
"""A connection without a byte from the server for this and 5 s more counts as lost."""
ANSWER_S: Final = 5.0
"""How long connecting may take, and each step of it."""
BLOCKED_S: Final = 20.0
"""How long RabbitMQ may refuse to read, as it does when its disk or memory is full."""


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
