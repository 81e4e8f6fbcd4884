"""How many connections the gateway holds open."""

import asyncio
import sys
from collections import OrderedDict
from typing import Final, cast

from prometheus_client import Counter

from actors.shared.settings import Settings
from api.clients import is_in
from api.login.limit import network_of

if sys.platform != "win32":
    import resource

REFUSED: Final = Counter(
    "killstream_connections_refused",
    "Connections that the gateway refused, or closed as others needed their place. Rises: a client "
    "opens connections and leaves them, or the limits are too low.",
    ["reason"],
)
FORGET_EVERY: Final = 256
"""Connections after which those that are closed are forgotten."""
RESERVED_FILES: Final = 192
"""Open files for everything but clients: databases, servers, logs."""


def connections_at_most(settings: Settings) -> tuple[int, int]:
    """Return how many connections there may be in all, and of one client."""
    files = _open_files()
    in_all = min(settings.api_connections, max(files - RESERVED_FILES, files // 2))
    return in_all, min(settings.api_connections_per_client, max(1, in_all // 2))


def raise_open_files() -> None:
    """Raise the limit of open files as far as the system allows."""
    if sys.platform != "win32":
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _open_files() -> int:
    if sys.platform == "win32":
        return sys.maxsize
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


class Connections:
    """The open connections, by client; what the gateway's server asks before it serves one.

    A connection counts until its transport is closed, whichever protocol it was given to since.
    """

    def __init__(self, settings: Settings) -> None:
        self._max, self._max_per_client = connections_at_most(settings)
        self._proxies = settings.api_proxies
        self._clients: dict[str, set[asyncio.BaseTransport]] = {}
        self._silent: OrderedDict[asyncio.Transport, None] = OrderedDict()
        """Those that haven't sent a whole request yet, the oldest first."""
        self._open = 0
        self._admitted = 0

    def admit(self, transport: asyncio.Transport, address: str) -> str | None:
        """Count a new connection, or return why it is refused.

        When there are too many in all, the oldest one that hasn't sent a request makes way.
        """
        self._admitted += 1
        if self._admitted % FORGET_EVERY == 0:
            self._forget_closed()
        client = network_of(address)
        if self._is_full(client) and not is_in(address, self._proxies):
            REFUSED.labels(reason="client").inc()
            return f"your address has {self._max_per_client} connections already"
        if self._open >= self._max:
            self._forget_closed()
        if self._open >= self._max and not self._close_silent():
            REFUSED.labels(reason="all").inc()
            return "too many connections"
        self._clients.setdefault(client, set()).add(transport)
        self._silent[transport] = None
        self._open += 1
        return None

    def heard(self, transport: asyncio.Transport) -> None:
        """Record that a connection has sent a whole request."""
        self._silent.pop(transport, None)

    def _is_full(self, client: str) -> bool:
        transports = self._clients.get(client, set())
        if len(transports) < self._max_per_client:
            return False
        return len(self._forget_closed_of(client)) >= self._max_per_client

    def _close_silent(self) -> bool:
        while self._silent:
            transport, _ = self._silent.popitem(last=False)
            if not transport.is_closing():
                REFUSED.labels(reason="silent").inc()
                transport.abort()
                self._forget_closed()
                return True
        return False

    def _forget_closed(self) -> None:
        for client in list(self._clients):
            self._forget_closed_of(client)

    def _forget_closed_of(self, client: str) -> set[asyncio.BaseTransport]:
        before = self._clients[client]
        still = {transport for transport in before if not transport.is_closing()}
        for transport in before - still:
            self._silent.pop(cast(asyncio.Transport, transport), None)
        self._open -= len(before) - len(still)
        self._clients[client] = still
        if not still:
            del self._clients[client]
        return still
