"""A Redis of a test's own, to be killed and started again on the same port."""

import shutil
import signal
import socket
import subprocess
from contextlib import closing
from pathlib import Path


class RedisServer:
    """One redis-server process."""

    def __init__(self, directory: Path, *options: str) -> None:
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._directory = directory
        self._options = options
        self.start()

    def start(self) -> None:
        program = shutil.which("redis-server")
        assert program, "no redis-server: run `just services` first"
        options = ["--bind", "127.0.0.1", "--save", "", "--dir", str(self._directory)]
        options += self._options
        self._process = subprocess.Popen(
            [program, "--port", str(self.port), *options], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout
        for line in self._process.stdout:
            if "Ready to accept connections" in line:
                return
        self.kill()
        raise AssertionError("redis-server ended")

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()
