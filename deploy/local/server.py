"""What a server is here: how to ask whether it is there, and how to start one of our own."""

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

USER = PASSWORD = DATABASE = VHOST = "killstream"


class Trouble(Exception):
    """Ends the command with exit code 1; its text says what to do."""


class Silent(Exception):
    """Nothing listens on the port: it is free for a server of our own."""


class Refused(Exception):
    """Something listens that doesn't speak the protocol or doesn't take our credentials."""


@dataclass(frozen=True)
class Launch:
    """One process to start; `user` is who it must run as when we are root."""

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    user: str | None = None


@dataclass(frozen=True)
class Server:
    """One kind of server.

    `needs` maps each program it takes to the Debian package that holds it. `probe` logs in on a
    port and returns the version, or raises Silent or Refused. `prepare` makes data and
    configuration below a directory, any number of times, and returns what to start. `clean_up`
    ends what the server leaves behind when it stops. `version` is what we start, for a protocol
    that doesn't tell.
    """

    name: str
    title: str
    port: int
    setting: str
    url: str
    needs: dict[str, str]
    probe: Callable[[int], str]
    prepare: Callable[[Path, int], Launch]
    stop_signal: signal.Signals = signal.SIGTERM
    clean_up: Callable[[int], None] | None = None
    version: str = ""
