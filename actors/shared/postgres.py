"""Connections to PostgreSQL: every form of its URL, a limit for every wait, poolers in between."""

import asyncio
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit
from weakref import WeakSet

import asyncpg
from sqlalchemy import URL

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

_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_POOLER_OPTIONS: Final = {
    "pgbouncer": "true",
    "prepared_statement_cache_size": "0",
    "statement_cache_size": "0",
}
"""What says that a pooler is in between, as other programs write it."""
_OPTIONS: Final = frozenset(
    {
        *("application_name", "database", "dbname", "gsslib", "host", "krbsrvname", "options"),
        *("passfile", "password", "port", "search_path", "service", "target_session_attrs", "user"),
        *("sslcert", "sslcrl", "sslkey", "sslmode", "sslnegotiation", "sslpassword", "sslrootcert"),
        *("ssl_max_protocol_version", "ssl_min_protocol_version"),
    }
)
"""What goes on to asyncpg. Source: asyncpg's `connect`, libpq's URIs (read 2026-11-26)."""
_IGNORED: Final = frozenset(
    {
        *("channel_binding", "connect_timeout", "fallback_application_name", "gssencmode"),
        *("keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval"),
        "tcp_user_timeout",
    }
)
"""Of libpq, and either set here or unknown to asyncpg."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that one wait for PostgreSQL may take; `command_s` may be none."""

    connect_s: float = 5.0
    command_s: float | None = 10.0


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL says: where, as whom, and whether a pooler is in between."""

    dsn: str
    """As asyncpg and libpq read it."""
    url: URL
    """As SQLAlchemy reads it."""
    application_name: str = ""
    behind_pooler: bool = False


def read_url(url: str) -> Target:
    """Read a URL of PostgreSQL as libpq, SQLAlchemy and providers write it.

    Raises:
        ValueError: it is none; says why, without the URL.
    """
    parts = urlsplit(url)
    if parts.scheme.partition("+")[0] not in ("postgresql", "postgres"):
        raise ValueError("must be postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    behind_pooler = any(options.pop(name, "") == value for name, value in _POOLER_OPTIONS.items())
    if "ssl" in options:
        said = options.pop("ssl").lower()
        options["sslmode"] = {"true": "require", "false": "disable"}.get(said, said)
    _check_options(options)
    options = {name: value for name, value in options.items() if name in _OPTIONS}
    if not (parts.hostname or options.keys() & {"host", "service"}):
        raise ValueError("names no host: postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    plain = urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(options), ""))
    return Target(plain, _shown(url), options.get("application_name", ""), behind_pooler)


def _check_options(options: Mapping[str, str]) -> None:
    for name in sorted(options.keys() - _OPTIONS - _IGNORED):
        near = get_close_matches(name, _OPTIONS, 1)
        raise ValueError(f"has an unknown option {name}" + (f"; {near[0]}?" if near else ""))
    if options.get("sslmode", "prefer") not in _SSL_MODES:
        raise ValueError(f"has an unknown sslmode; there are {', '.join(_SSL_MODES)}")


def _shown(url: str) -> URL:
    parts = urlsplit(url)
    hosts = parts.netloc.rpartition("@")[2]
    several = "," in hosts
    return URL.create(
        "postgresql+asyncpg",
        unquote(parts.username) if parts.username else None,
        unquote(parts.password) if parts.password else None,
        hosts if several else parts.hostname,
        None if several else parts.port,
        unquote(parts.path.removeprefix("/")) or None,
        MappingProxyType(dict(parse_qsl(parts.query))),
    )


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
        limit_s = self.limits.connect_s
        try:
            async with asyncio.timeout(limit_s):
                connection = await self._connect()
                if not self.behind_pooler and await _is_pooled(connection):
                    self.behind_pooler = True
                    await connection.close()
                    connection = await self._connect()
        except TimeoutError:
            raise TimeoutError(f"PostgreSQL didn't answer within {limit_s:g} s") from None
        return connection

    async def _connect(self) -> Connection:
        connection: Connection = await asyncpg.connect(
            self.target.dsn,
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
