"""Ports on this host: a free one, and one that begins to answer."""

import asyncio
import socket

from actors.shared.errors import Misconfigured
from actors.shared.settings import Settings


def free_port() -> int:
    """Find a port on 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listen(settings: Settings) -> socket.socket:
    """Listen where the gateway is to be reached.

    Raises:
        Misconfigured: the address isn't of this machine, or taken.
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


async def until_listening(host: str, port: int) -> None:
    """Return when somebody takes connections there; waits for ever."""
    while True:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            await writer.wait_closed()
            return
