"""How many connections the gateway holds open."""

import sys
from typing import Final

from actors.shared.settings import Settings

if sys.platform != "win32":
    import resource

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
