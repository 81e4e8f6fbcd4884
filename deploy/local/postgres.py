"""PostgreSQL, for the killmails, with the durability of production."""

import asyncio
import os
import shutil
import signal
import subprocess
from pathlib import Path

import asyncpg

from deploy.local.install import program
from deploy.local.paths import accessible_home
from deploy.local.ports import HOST
from deploy.local.probe import ANSWER_S, client_errors
from deploy.local.server import DATABASE, PASSWORD, USER, Launch, LocalServerError, Server

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
    """Log in to our database as our role; return the version."""
    with client_errors(port):
        return asyncio.run(_version(port))


async def _version(port: int) -> str:
    connection = await asyncpg.connect(
        host=HOST,
        port=port,
        user=USER,
        password=PASSWORD,
        database=DATABASE,
        ssl=False,
        timeout=ANSWER_S,
    )
    try:
        version: str = connection.get_settings().server_version
    finally:
        await connection.close(timeout=ANSWER_S)
    return version.split()[0]


def prepare(home: Path, port: int) -> Launch:
    """Create the data directory with role and database once, and return the server's command."""
    user = "postgres" if os.geteuid() == 0 else None
    home = accessible_home(home, user)
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
    """Initialise a cluster and create role and database in single-user mode.

    So the server never listens without our role.
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
    # Single-user mode exits with 0 also after a failed statement.
    if done.returncode or "ERROR:" in done.stderr or "FATAL:" in done.stderr:
        raise LocalServerError(
            f"PostgreSQL: {Path(command[0]).name} failed:\n{done.stderr.strip()}"
        )


SERVER = Server(
    name="postgres",
    title="PostgreSQL",
    port=5432,
    setting="KILLSTREAM_DATABASE_URL",
    url=f"postgresql+asyncpg://{USER}:{PASSWORD}@127.0.0.1:{{port}}/{DATABASE}",
    programs={"postgres": "postgresql", "initdb": "postgresql"},
    probe=probe,
    prepare=prepare,
    stop_signal=signal.SIGINT,  # fast shutdown; SIGTERM would wait for all clients to disconnect
)
