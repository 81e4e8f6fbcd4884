"""Connections to PostgreSQL: a limit for every wait, and poolers in between."""

import asyncio
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakSet

import asyncpg

from actors.shared.postgres_url import Target

CLOSE_S: Final = 1.0
"""How long closing a connection waits for the server."""

_KEEPALIVE: Final = {
    "SO_KEEPALIVE": (socket.SOL_SOCKET, 1),
    "TCP_KEEPIDLE": (socket.IPPROTO_TCP, 30),
    "TCP_KEEPINTVL": (socket.IPPROTO_TCP, 10),
    "TCP_KEEPCNT": (socket.IPPROTO_TCP, 3),
    "TCP_USER_TIMEOUT": (socket.IPPROTO_TCP, 60_000),
}
"""Idle connections are seen by what forgets idle ones, and end a minute after the server's end."""


_ELSEWHERE: Final = (
    asyncpg.CannotConnectNowError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.TargetServerAttributeNotMatched,
)
"""Refusals of one host after which the next is tried, as are its silence and its absence."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that one wait for PostgreSQL may take; `command_s` may be none."""

    connect_s: float = 5.0
    command_s: float | None = 10.0


class Connection(asyncpg.Connection):
    """A connection that waits for a silent server only for a moment when it closes."""

    def get_reset_query(self) -> str:
        """Reset nothing: no session state is ever changed."""
        return ""

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Close; a server that doesn't answer is left without a word."""
        with suppress(TimeoutError):  # asyncpg has dropped it then
            await super().close(timeout=min(timeout or CLOSE_S, CLOSE_S))

    def keep_alive(self) -> None:
        """Have the kernel ask whether the server is still there."""
        connected = self._transport.get_extra_info("socket")  # type: ignore[attr-defined] # no stub
        if connected is None or connected.family not in (socket.AF_INET, socket.AF_INET6):
            return
        for name, (level, value) in _KEEPALIVE.items():
            if hasattr(socket, name):  # not all systems have all
                connected.setsockopt(level, getattr(socket, name), value)


@dataclass
class Connector:
    """Opens connections for one part of Killstream, which PostgreSQL shows as their name.

    A transaction pooler gives each transaction another session, so that nothing that lasts longer
    may be kept in one: prepared statements are unnamed then.
    """

    target: Target
    part: str
    limits: Limits = Limits()
    behind_pooler: bool = False
    """Whether a pooler is in between: as the URL says, or as the first connection showed."""
    _opened: WeakSet[Connection] = field(default_factory=WeakSet)

    def __post_init__(self) -> None:
        self.behind_pooler = self.target.behind_pooler

    async def connect(self, *_args: Any, **_options: Any) -> Connection:
        """Open a connection; arguments, as asyncpg's pool gives them, change nothing.

        Raises:
            TimeoutError: the server doesn't answer.
            OSError, asyncpg.PostgresError, asyncpg.InterfaceError: it refuses.
        """
        *others, last = self.target.dsns
        for dsn in others:
            with suppress(OSError, *_ELSEWHERE):
                return await self._connect_within_limit(dsn)
        return await self._connect_within_limit(last)

    async def _connect_within_limit(self, dsn: str) -> Connection:
        limit_s = self.limits.connect_s
        try:
            async with asyncio.timeout(limit_s):
                connection = await self._connect(dsn)
                if not self.behind_pooler and await _is_pooled(connection):
                    self.behind_pooler = True
                    await connection.close()
                    connection = await self._connect(dsn)
        except TimeoutError:
            raise TimeoutError(f"PostgreSQL didn't answer within {limit_s:g} s") from None
        return connection

    async def _connect(self, dsn: str) -> Connection:
        connection: Connection = await asyncpg.connect(
            dsn,
            timeout=self.limits.connect_s,
            command_timeout=self.limits.command_s,
            statement_cache_size=0 if self.behind_pooler else 100,
            connection_class=Connection,
            server_settings={
                "application_name": self.target.application_name or f"killstream/{self.part}"
            },
        )
        connection.keep_alive()
        self._opened.add(connection)
        return connection

    def terminate(self) -> None:
        """Drop all connections that are still open, at once."""
        for connection in list(self._opened):
            connection.terminate()


async def _is_pooled(connection: Connection) -> bool:
    """Tell whether the session's process is another one than the one that greeted us.

    A pooler greets by itself, with a number of its own.
    """
    asked = await connection.prepare("SELECT pg_backend_pid()", name="")
    return bool(await asked.fetchval() != connection.get_server_pid())
