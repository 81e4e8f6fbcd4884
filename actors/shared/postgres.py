"""Connections to PostgreSQL with time limits, directly or through a pooler."""

import asyncio
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakSet

import asyncpg

from actors.shared.postgres_url import Target

CLOSE_S: Final = 1.0
"""Time limit for closing a connection."""

_KEEPALIVE: Final = {
    "SO_KEEPALIVE": (socket.SOL_SOCKET, 1),
    "TCP_KEEPIDLE": (socket.IPPROTO_TCP, 30),
    "TCP_KEEPINTVL": (socket.IPPROTO_TCP, 10),
    "TCP_KEEPCNT": (socket.IPPROTO_TCP, 3),
    "TCP_USER_TIMEOUT": (socket.IPPROTO_TCP, 60_000),
}
"""Keeps idle connections open through firewalls; closes them a minute after the server is gone."""


_NEXT_HOST_ERRORS: Final = (
    asyncpg.CannotConnectNowError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.TargetServerAttributeNotMatched,
)
"""Errors of one host after which the next is tried, as after OSError and a timeout."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits in seconds; `command_s` may be None."""

    connect_s: float = 5.0
    command_s: float | None = 10.0


class Connection(asyncpg.Connection):
    """A connection whose close has a time limit."""

    def get_reset_query(self) -> str:
        """Return no query: session state is never changed."""
        return ""

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Close; drops the connection when the server doesn't answer."""
        with suppress(TimeoutError):  # asyncpg has aborted it then
            await super().close(timeout=min(timeout or CLOSE_S, CLOSE_S))

    def keep_alive(self) -> None:
        """Enable TCP keepalive."""
        connected = self._transport.get_extra_info("socket")  # type: ignore[attr-defined] # no stub
        if connected is None or connected.family not in (socket.AF_INET, socket.AF_INET6):
            return
        for name, (level, value) in _KEEPALIVE.items():
            if hasattr(socket, name):  # not all systems have all
                connected.setsockopt(level, getattr(socket, name), value)


@dataclass
class Connector:
    """Opens connections for one part of Killstream, with its name as `application_name`.

    A transaction pooler may run each transaction in another session, so no session state may be
    used: prepared statements are unnamed then.
    """

    target: Target
    part: str
    limits: Limits = Limits()
    behind_pooler: bool = False
    """Whether connections go through a pooler: by the URL, or detected on the first one."""
    _opened: WeakSet[Connection] = field(default_factory=WeakSet)

    def __post_init__(self) -> None:
        self.behind_pooler = self.target.behind_pooler

    async def connect(self, *_args: Any, **_options: Any) -> Connection:
        """Open a connection; ignores its arguments.

        Raises:
            TimeoutError: the server doesn't answer.
            OSError, asyncpg.PostgresError, asyncpg.InterfaceError: it refuses.
        """
        *others, last = self.target.dsns
        for dsn in others:
            with suppress(OSError, *_NEXT_HOST_ERRORS):
                return await self._connect_within_limit(dsn)
        return await self._connect_within_limit(last)

    async def _connect_within_limit(self, dsn: str) -> Connection:
        limit_s = self.limits.connect_s
        try:
            async with asyncio.timeout(limit_s):
                connection = await self._connect(dsn)
                if self.behind_pooler or not await self._detects_pooler(connection):
                    return connection
                await connection.close()
                return await self._connect(dsn)
        except TimeoutError:
            raise TimeoutError(f"PostgreSQL didn't answer within {limit_s:g} s") from None

    async def _detects_pooler(self, connection: Connection) -> bool:
        try:
            self.behind_pooler = await _is_pooled(connection)
        except BaseException:  # a cancellation, too, must not leave the connection open
            connection.terminate()
            raise
        return self.behind_pooler

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
        """Abort all open connections."""
        for connection in list(self._opened):
            connection.terminate()


async def _is_pooled(connection: Connection) -> bool:
    """Detect a pooler: it sends a process id of its own at connect, not the session's."""
    statement = await connection.prepare("SELECT pg_backend_pid()", name="")
    return bool(await statement.fetchval() != connection.get_server_pid())
