"""The types: a kind of server, a process to start, and the result of an inspection."""

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

USER = PASSWORD = DATABASE = VHOST = "killstream"


class LocalServerError(Exception):
    """The command must end with exit code 1; the message has what to do."""


class NotListening(Exception):
    """No server listens on the port, so ours can use it."""


class Refused(Exception):
    """The server on the port has another protocol, refuses our credentials or doesn't answer."""


@dataclass(frozen=True)
class Launch:
    """One process to start; `user` is the user to run it as when we are root."""

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    user: str | None = None


@dataclass(frozen=True)
class ProcessRecord:
    """A process that we started; the start time distinguishes it from a later one with its id."""

    pid: int
    started_ticks: int
    port: int


@dataclass(frozen=True)
class Server:
    """One kind of server.

    `programs` maps each required program to its Debian package. `probe` logs in on a port and
    returns the version; it raises NotListening or Refused. `prepare` creates data and configuration
    in a directory (idempotent) and returns the process to start. `clean_up` stops processes that
    the server leaves behind. `version` is the version that we start, for a protocol without one.
    `more_settings` gives settings that only a server that we started has, by its port.
    """

    name: str
    title: str
    port: int
    setting: str
    url: str
    programs: dict[str, str]
    probe: Callable[[int], str]
    prepare: Callable[[Path, int], Launch]
    stop_signal: signal.Signals = signal.SIGTERM
    clean_up: Callable[[int], None] | None = None
    version: str = ""
    more_settings: Callable[[int], dict[str, str]] | None = None


@dataclass(frozen=True)
class Inspection:
    """The state of one server on one port; `detail` is the version, or why it can't be used."""

    server: Server
    port: int
    state: Literal["available", "not listening", "refused"]
    detail: str
    record: ProcessRecord | None = None
    """The running process on this port, if we started it."""

    @property
    def url(self) -> str:
        """The value of the server's setting for this port."""
        return self.server.url.format(port=self.port)
