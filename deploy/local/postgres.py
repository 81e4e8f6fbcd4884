"""PostgreSQL: the killmails. Every promise of durability stays switched on."""

import os
import shutil
import signal
import socket
import struct
import subprocess
from hashlib import md5
from pathlib import Path

from deploy.local import scram
from deploy.local.install import program
from deploy.local.places import reachable_home
from deploy.local.server import DATABASE, PASSWORD, USER, Launch, Refused, Server, Trouble
from deploy.local.wire import HOST, conversation, read_exactly, read_sized

SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "256MB",
    "max_connections": "200",
    "max_wal_size": "2GB",
    "cluster_name": "killstream",
}
_FIRST_STATEMENTS = f"""\
CREATE ROLE {USER} LOGIN CREATEDB PASSWORD '{PASSWORD}';
CREATE DATABASE {DATABASE} OWNER {USER};
"""


def probe(port: int) -> str:
    """Log in to our database as our role.

    Source: PostgreSQL's frontend/backend protocol 3.0 (read 2026-11-21).
    """
    start = struct.pack("!i", 196608) + _text("user", USER, "database", DATABASE) + b"\0"
    with conversation(port) as connection:
        connection.sendall(struct.pack("!i", len(start) + 4) + start)
        first, version = "", "unknown version"
        while True:
            kind, body = _receive(connection)
            if kind == b"E":
                raise Refused(_error_text(body))
            if kind == b"R":
                first = _authenticate(connection, body, first)
            elif kind == b"S" and body.startswith(b"server_version\0"):
                version = body.split(b"\0")[1].decode().split()[0]
            elif kind == b"Z":
                connection.sendall(b"X\0\0\0\x04")
                return version


def _authenticate(connection: socket.socket, body: bytes, first: str) -> str:
    """Answer one authentication request; returns our first SCRAM message for the next one."""
    (code,) = struct.unpack_from("!i", body)
    if code == 3:
        _send(connection, _text(PASSWORD))
    elif code == 5:
        inner = md5(f"{PASSWORD}{USER}".encode()).hexdigest()
        _send(connection, _text("md5" + md5(inner.encode() + body[4:8]).hexdigest()))
    elif code == 10:
        first = scram.first_message()
        message = (scram.FIRST_HEADER + first).encode()
        _send(connection, _text("SCRAM-SHA-256") + struct.pack("!i", len(message)) + message)
    elif code == 11:
        _send(connection, scram.final_message(first, body[4:].decode(), PASSWORD).encode())
    elif code not in (0, 12):
        raise Refused(f"it asks for authentication method {code}, which isn't known here")
    return first


def _receive(connection: socket.socket) -> tuple[bytes, bytes]:
    kind, size = struct.unpack("!ci", read_exactly(connection, 5))
    return kind, read_sized(connection, size - 4)


def _send(connection: socket.socket, body: bytes) -> None:
    connection.sendall(b"p" + struct.pack("!i", len(body) + 4) + body)


def _text(*words: str) -> bytes:
    return b"".join(word.encode() + b"\0" for word in words)


def _error_text(body: bytes) -> str:
    fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
    return fields.get(b"M", "an error without a message")


def prepare(home: Path, port: int) -> Launch:
    """Make the data directory once, with role and database in it, and return the postmaster."""
    user = "postgres" if os.geteuid() == 0 else None
    home = reachable_home(home, user)
    data = home / "data"
    if not data.exists():
        _create_cluster(home / "data.unfinished", user)
        (home / "data.unfinished").rename(data)
    flags = [
        part
        for name, value in {**SETTINGS, "port": str(port)}.items()
        for part in ("-c", f"{name}={value}")
    ]
    return Launch([program("postgres"), "-D", str(data), *flags], user=user)


def _create_cluster(data: Path, user: str | None) -> None:
    """Initialise a cluster and run the first statements in single-user mode.

    No server is up meanwhile, so there is no moment at which one listens without our role.
    """
    shutil.rmtree(data, ignore_errors=True)
    authentication = ["--auth-local=peer", "--auth-host=scram-sha-256"]
    locale = ["--locale=C.UTF-8", "--encoding=UTF8", "--username=postgres"]
    _run([program("initdb"), "-D", str(data), *authentication, *locale], user)
    _run([program("postgres"), "--single", "-D", str(data), "postgres"], user, _FIRST_STATEMENTS)


def _run(command: list[str], user: str | None, text: str = "") -> None:
    done = subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        cwd="/",
    )
    # Single-user mode ends with 0 whatever its statements did.
    if done.returncode or "ERROR:" in done.stderr or "FATAL:" in done.stderr:
        raise Trouble(f"PostgreSQL: {Path(command[0]).name} failed:\n{done.stderr.strip()}")


SERVER = Server(
    name="postgres",
    title="PostgreSQL",
    port=5432,
    setting="KILLSTREAM_DATABASE_URL",
    url=f"postgresql+asyncpg://{USER}:{PASSWORD}@127.0.0.1:{{port}}/{DATABASE}",
    needs={"postgres": "postgresql", "initdb": "postgresql"},
    probe=probe,
    prepare=prepare,
    stop_signal=signal.SIGINT,  # a fast shutdown; SIGTERM would wait for every client to leave
)
