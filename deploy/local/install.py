"""Find the programs that the servers take, and install Debian's packages for those missing."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.server import Server, Trouble

_POLICY = Path("/usr/sbin/policy-rc.d")
_ELSEWHERE = ("/usr/lib/postgresql/*/bin", "/usr/lib/rabbitmq/bin")
"""Debian keeps these off the search path, and its wrappers in front would change the user."""


def say(line: str) -> None:
    """Print one line at once, even into a pipe."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def find(name: str) -> str | None:
    """Return the path of a program, or None."""
    places = [str(place) for pattern in _ELSEWHERE for place in _newest_first(pattern)]
    return shutil.which(name, path=os.pathsep.join([*places, os.environ.get("PATH", os.defpath)]))


def program(name: str) -> str:
    """Return the path of a program that must be there by now.

    Raises:
        Trouble: it isn't.
    """
    path = find(name)
    if path is None:
        raise Trouble(f"the program {name} is missing")
    return path


def require(servers: Iterable[Server]) -> bool:
    """Make sure that all programs of these servers are there, in one run of apt-get.

    Returns whether anything had to be installed.

    Raises:
        Trouble: something is missing and can't be installed from here; names each package.
    """
    servers = list(servers)
    if servers and sys.platform != "linux":
        raise Trouble("\n".join(_elsewhere(server) for server in servers))
    missing = {server.name: _missing_packages(server) for server in servers}
    packages = sorted(set().union(*missing.values()))
    if not packages:
        return False
    if find("apt-get") is None or os.geteuid() != 0:
        raise Trouble(
            "\n".join(
                _advice(server, missing[server.name]) for server in servers if missing[server.name]
            )
        )
    say(f"installing {', '.join(packages)}: Debian's packages, a minute or two, once")
    with _no_daemons():
        _apt_get("update")
        _apt_get("install", "--yes", "--no-install-recommends", *packages)
    return True


def _missing_packages(server: Server) -> set[str]:
    return {package for name, package in server.needs.items() if find(name) is None}


def _advice(server: Server, packages: set[str]) -> str:
    names = " ".join(sorted(packages))
    return (
        f"{server.title} doesn't answer with our credentials, and can't be started: "
        f"missing {names}. As root on Debian: apt-get install {names}. {_by_hand(server)}"
    )


def _elsewhere(server: Server) -> str:
    return (
        f"{server.title} doesn't answer with our credentials, and is started from here on Linux "
        f"only. {_by_hand(server)}"
    )


def _by_hand(server: Server) -> str:
    url = server.url.format(port=server.port)
    return (
        f"With Docker: docker compose -f deploy/compose.yaml up {server.name}. Or run it at {url}"
    )


def _apt_get(*arguments: str) -> None:
    done = subprocess.run(
        [program("apt-get"), "-qq", *arguments],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Trouble(f"apt-get {' '.join(arguments)} failed:\n{done.stdout[-2000:]}")


@contextmanager
def _no_daemons() -> Iterator[None]:
    """Keep the packages from starting their servers; ours get their own data and ports.

    Source: Debian's invoke-rc.d(8): 101 from policy-rc.d forbids the action (read 2026-11-21).
    """
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def _newest_first(pattern: str) -> list[Path]:
    return sorted(Path("/").glob(pattern.lstrip("/")), reverse=True)
