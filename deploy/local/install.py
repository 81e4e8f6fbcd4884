"""Find the programs that the servers take, and install Debian's packages for missing ones."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.local.server import Inspection, LocalServerError, Server

_POLICY = Path("/usr/sbin/policy-rc.d")
_DEBIAN_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/lib/rabbitmq/bin")
"""Debian has these off the search path, and its wrappers in front would change the user."""
_NOT_LINUX = "It is started from here on Linux only."
_MISSING = "It can't be started: missing {packages}. As root on Debian: apt-get install {packages}."


def print_line(line: str) -> None:
    """Print one line at once, even into a pipe."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def find(name: str) -> str | None:
    """Return the path of a program, or None."""
    folders = [str(folder) for pattern in _DEBIAN_FOLDERS for folder in _newest_first(pattern)]
    return shutil.which(name, path=os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)]))


def program(name: str) -> str:
    """Return the path of a program that must be there by now.

    Raises:
        LocalServerError: it isn't.
    """
    path = find(name)
    if path is None:
        raise LocalServerError(f"the program {name} is missing")
    return path


def install_missing(unavailable: Iterable[Inspection]) -> bool:
    """Make sure that the programs of these servers are there, in one run of apt-get.

    Returns whether anything had to be installed.

    Raises:
        LocalServerError: something is missing and can't be installed from here; one line for each
            server says what to do.
    """
    inspections = list(unavailable)
    if inspections and sys.platform != "linux":
        raise LocalServerError("\n".join(_advice(one, _NOT_LINUX) for one in inspections))
    missing = {one.server.name: _missing_packages(one.server) for one in inspections}
    packages = sorted(set().union(*missing.values()))
    if not packages:
        return False
    if find("apt-get") is None or os.geteuid() != 0:
        raise LocalServerError(
            "\n".join(
                _advice(one, _MISSING.format(packages=" ".join(sorted(missing[one.server.name]))))
                for one in inspections
                if missing[one.server.name]
            )
        )
    install_packages(packages)
    return True


def install_packages(packages: Sequence[str]) -> None:
    """Install Debian's packages, as root; none of them starts a server.

    Raises:
        LocalServerError: apt-get failed; says how.
    """
    print_line(f"installing {', '.join(packages)}: Debian's packages, a minute or two, once")
    with _no_daemons():
        _apt_get("update")
        _apt_get("install", "--yes", "--no-install-recommends", *packages)


def _missing_packages(server: Server) -> set[str]:
    return {package for name, package in server.programs.items() if find(name) is None}


def _advice(one: Inspection, cause: str) -> str:
    """Say what was found on the port, why no server is started, and what else can be done."""
    server = one.server
    if one.state == "refused":
        others = f"Or make what listens there answer to {one.url}, or stop it."
    elif one.port == server.port:
        docker = f"docker compose -f deploy/compose.yaml up {server.name}"
        others = f"Or with Docker: {docker}. Or start one that answers to {one.url}."
    else:
        others = f"Or start one that answers to {one.url}."
    return f"{server.title} on port {one.port}: {one.detail}. {cause} {others}"


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
        raise LocalServerError(f"apt-get {' '.join(arguments)} failed:\n{done.stdout[-2000:]}")


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
