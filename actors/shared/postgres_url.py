"""Parse PostgreSQL URLs in the forms of libpq, SQLAlchemy and hosting providers."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

FORM: Final = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"

_CHOICES: Final = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": (
        *("any", "primary", "standby", "read-write", "read-only", "prefer-standby"),
    ),
}
"""Options with a fixed set of values."""
_FILES: Final = ("sslcert", "sslcrl", "sslkey", "sslrootcert", "passfile")
"""Options that name a file."""
_POOLER_OPTIONS: Final = {
    "pgbouncer": "true",
    "prepared_statement_cache_size": "0",
    "statement_cache_size": "0",
}
"""Options that other programs use to mark a pooler."""
_OPTIONS: Final = frozenset(
    {
        *("application_name", "database", "dbname", "gsslib", "host", "krbsrvname", "options"),
        *("passfile", "password", "port", "search_path", "service", "target_session_attrs", "user"),
        *("sslcert", "sslcrl", "sslkey", "sslmode", "sslnegotiation", "sslpassword", "sslrootcert"),
        *("ssl_max_protocol_version", "ssl_min_protocol_version"),
    }
)
"""Options passed to asyncpg. Source: asyncpg's `connect`, libpq's URIs (read 2026-11-26)."""
_IGNORED: Final = frozenset(
    {
        *("channel_binding", "connect_timeout", "fallback_application_name", "gssencmode"),
        *("keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval"),
        "tcp_user_timeout",
    }
)
"""Options of libpq that are set here or unknown to asyncpg."""


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed URL."""

    dsns: tuple[str, ...]
    """One per host, in the form of libpq; the first host that answers is used."""
    application_name: str = ""
    behind_pooler: bool = False
    """Whether the URL has an option that marks a pooler."""


def read_url(url: str) -> Target:
    """Parse a PostgreSQL URL in the form of libpq, SQLAlchemy or a hosting provider.

    Raises:
        ValueError: the URL is invalid; says why, without the URL.
    """
    parts = urlsplit(url)
    if parts.scheme.partition("+")[0] not in ("postgresql", "postgres"):
        raise ValueError(f"must be {FORM}")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    pooler = [options.pop(name, None) == value for name, value in _POOLER_OPTIONS.items()]
    if "ssl" in options:
        ssl = options.pop("ssl").lower()
        options["sslmode"] = {"true": "require", "false": "disable"}.get(ssl, ssl)
    _check_options(options)
    options = {name: value for name, value in options.items() if name in _OPTIONS}
    if not (parts.hostname or options.keys() & {"host", "service"}):
        raise ValueError(f"names no host: {FORM}")
    query = f"?{urlencode(options)}" if options else ""
    login, hosts = _split(parts)
    dsns = tuple(f"postgresql://{login}{host}{parts.path}{query}" for host in hosts)
    return Target(dsns, options.get("application_name", ""), any(pooler))


def _split(parts: SplitResult) -> tuple[str, list[str]]:
    """Split into login and hosts; accepts special characters in the password.

    Raises:
        ValueError: the URL is ambiguous.
    """
    login, at, hosts = parts.netloc.rpartition("@")
    if parts.fragment or any(map(_has_wrong_port, hosts.split(","))):
        raise ValueError(
            "can't be parsed: correct the port, or percent-encode special characters in the"
            f" password: {FORM}"
        )
    user, colon, password = login.partition(":")
    return _quote(user) + colon + _quote(password) + at, hosts.split(",")


def _has_wrong_port(host: str) -> bool:
    """Tell whether the host is followed by an invalid port."""
    port = host.rpartition("]")[2].partition(":")[2]
    return bool(port) and not (port.isdecimal() and 0 < int(port) < 65536)


def _quote(text: str) -> str:
    return quote(unquote(text), safe="")


def _check_options(options: Mapping[str, str]) -> None:
    for name in sorted(options.keys() - _OPTIONS - _IGNORED):
        near = get_close_matches(name, _OPTIONS, 1)
        raise ValueError(f"has an unknown option {name}" + (f"; {near[0]}?" if near else ""))
    for name, values in _CHOICES.items():
        if options.get(name, values[0]) not in values:
            raise ValueError(f"has an unknown {name}; there are {', '.join(values)}")
    for name in _FILES:
        if name in options and not Path(options[name]).is_file():
            raise ValueError(f"names a file in {name} that isn't there: {options[name]}")
