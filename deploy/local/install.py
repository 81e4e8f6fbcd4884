"""Find the servers' programs, and install Debian's packages for missing ones."""

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
"""Debian's directories outside of PATH. Searched first, as the wrappers in PATH change the user."""
_NOT_LINUX = "It can be started on Linux only."
_MISSING = "It can't be started: missing {packages}. As root on Debian: apt-get install {packages}."


def print_line(line: str) -> None:
    """Print one line and flush."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def find(name: str) -> str | None:
    """Return the path of a program, or None."""
    folders = [str(folder) for pattern in _DEBIAN_FOLDERS for folder in _newest_first(pattern)]
    return shutil.which(name, path=os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)]))


def program(name: str) -> str:
    """Return the path of an installed program.

    Raises:
        LocalServerError: it isn't installed.
    """
    path = find(name)
    if path is None:
        raise LocalServerError(f"the program {name} is missing")
    return path


def install_missing(unavailable: Iterable[Inspection]) -> bool:
    """Install the missing programs of these servers in one run of apt-get.

    Returns:
        Whether a package was installed.

    Raises:
        LocalServerError: a program is missing and can't be installed; the message has a line with
            the remedy for each server.
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
    """Install Debian's packages as root, without starting their servers.

    Raises:
        LocalServerError: apt-get failed; the message has its output.
    """
    print_line(f"installing {', '.join(packages)}: Debian's packages; takes a minute or two, once")
    with _no_daemons():
        _apt_get("update")
        _apt_get("install", "--yes", "--no-install-recommends", *packages)


def _missing_packages(server: Server) -> set[str]:
    return {package for name, package in server.programs.items() if find(name) is None}


def _advice(one: Inspection, cause: str) -> str:
    """Return what was found on the port, why no server can be started, and the alternatives."""
    server = one.server
    if one.state == "refused":
        others = f"Or configure the server on that port for {one.url}, or stop it."
    elif one.port == server.port:
        docker = f"docker compose -f deploy/compose.yaml up {server.name}"
        others = f"Or with Docker: {docker}. Or start one for {one.url}."
    else:
        others = f"Or start one for {one.url}."
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
    """Prevent the packages from starting their servers; ours have other data and ports.

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
