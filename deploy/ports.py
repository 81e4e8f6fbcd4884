"""Find a free port, the gateway's address, and wait until a port accepts connections."""

import asyncio
import random
import socket
from contextlib import suppress

from actors.shared.errors import Misconfigured
from actors.shared.settings import Settings

_PORTS = range(10_240, 32_768)
"""Below those that systems give to outgoing connections, of which one could take a free port."""


def free_port() -> int:
    """Return a port on 127.0.0.1 on which no process listens now."""
    for port in random.sample(_PORTS, len(_PORTS)):
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise Misconfigured("no port of 127.0.0.1 is free")


def listen(settings: Settings) -> socket.socket:
    """Listen on the gateway's address.

    Raises:
        Misconfigured: the address isn't this machine's, or is in use.
    """
    host, port = settings.api_host, settings.api_port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]
        raise Misconfigured(
            f"can't listen on {host} port {port} ({reason}): set KILLSTREAM_API_HOST or"
            " KILLSTREAM_API_PORT"
        ) from None


def gateway_url(settings: Settings, scheme: str) -> str:
    """Return the URL of the configured gateway's GraphQL, as seen from this host."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.api_host, settings.api_host)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.api_port}/graphql"


async def wait_until_listening(host: str, port: int) -> None:
    """Wait until the port accepts connections, without a time limit."""
    while True:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            await writer.wait_closed()
            return
