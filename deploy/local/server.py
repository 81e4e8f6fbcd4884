"""What a server is here: how to probe it, how to start one, and what an inspection found."""

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

USER = PASSWORD = DATABASE = VHOST = "killstream"


class LocalServerError(Exception):
    """Ends the command with exit code 1; its text says what to do."""


class NotListening(Exception):
    """Nothing listens on the port: it is free for a server of our own."""


class Refused(Exception):
    """Something listens that speaks another protocol, refuses our credentials or says nothing."""


@dataclass(frozen=True)
class Launch:
    """One process to start; `user` is who it must run as when we are root."""

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    user: str | None = None


@dataclass(frozen=True)
class ProcessRecord:
    """A process that we started; its start time tells it from a later one with the same id."""

    pid: int
    started_ticks: int
    port: int


@dataclass(frozen=True)
class Server:
    """One kind of server.

    `programs` maps each program that it takes to the Debian package that holds it. `probe` logs in
    on a port and returns the version; it raises NotListening or Refused. `prepare` makes data and
    configuration below a directory, any number of times, and returns what to start. `clean_up`
    ends what the server leaves behind when it stops. `version` is the one that we start, for a
    protocol that doesn't carry it.
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


@dataclass(frozen=True)
class Inspection:
    """What one server answered on one port; `detail` is its version, or why it can't be used."""

    server: Server
    port: int
    state: Literal["available", "not listening", "refused"]
    detail: str
    record: ProcessRecord | None = None
    """The process on this port, if we started it and it runs."""

    @property
    def url(self) -> str:
        """The value of the server's setting for this port."""
        return self.server.url.format(port=self.port)
