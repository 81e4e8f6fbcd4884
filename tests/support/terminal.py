"""A command in a terminal of its own, as a person starts it."""

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.support.processes import with_descendants

CTRL_C = b"\x03"


class Terminal:
    """A pseudo terminal with one command in its foreground."""

    def __init__(self, primary: int, process: subprocess.Popen[bytes]) -> None:
        self._primary = primary
        self.process = process
        self.output = ""

    def type(self, keys: bytes) -> None:
        """Press keys; the terminal turns Ctrl-C into SIGINT for all processes in it."""
        os.write(self._primary, keys)

    def terminate(self) -> None:
        """Send SIGTERM to the command alone."""
        self.process.terminate()

    def until(self, pattern: str, timeout_s: float = 60) -> None:
        """Wait until the output matches."""
        deadline_s = time.monotonic() + timeout_s
        while not re.search(pattern, self.output):
            assert self.process.poll() is None, f"ended before {pattern!r}:\n{self.output}"
            assert time.monotonic() < deadline_s, f"no {pattern!r} in:\n{self.output}"
            self._read()

    def until_ended(self, timeout_s: float = 60) -> float:
        """Wait until the command ends; give the seconds that it took."""
        began_s = time.monotonic()
        while self.process.poll() is None:
            assert time.monotonic() < began_s + timeout_s, f"still runs:\n{self.output}"
            self._read()
        took_s = time.monotonic() - began_s
        while self._read():
            pass
        return took_s

    def _read(self) -> bool:
        ready, _, _ = select.select([self._primary], [], [], 0.05)
        if not ready:
            return False
        try:
            read = os.read(self._primary, 65536)
        except OSError:  # Linux: all who had it open are gone
            return False
        self.output += read.decode(errors="replace")
        return True


@contextmanager
def in_terminal(*command: str, env: dict[str, str] | None = None) -> Iterator[Terminal]:
    """Run a command in a new terminal; kill what is left of it at the end."""
    primary, secondary = pty.openpty()

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        command,
        stdin=secondary,
        stdout=secondary,
        stderr=secondary,
        env=env,
        start_new_session=True,
        preexec_fn=take_terminal,
    )
    os.close(secondary)
    try:
        yield Terminal(primary, process)
    finally:
        for pid in with_descendants([process.pid]):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        os.close(primary)
