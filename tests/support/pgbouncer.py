"""A PgBouncer of a test's own, before the tests' PostgreSQL."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from deploy.local.install import find, install_packages, program
from deploy.ports import free_port, wait_until_listening

_CONFIGURATION = """\
[databases]
* = host={host} port={port} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = {pool_mode}
default_pool_size = {pool_size}
server_login_retry = 1
"""


@asynccontextmanager
async def open_pgbouncer(
    url: str, *, pool_mode: str = "transaction", pool_size: int = 4
) -> AsyncIterator[str]:
    """Put a pooler before the server that a URL names; give the URL through it."""
    if find("pgbouncer") is None:
        await asyncio.to_thread(install_packages, ["pgbouncer"])
    parts = urlsplit(url)
    port = free_port()
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    with TemporaryDirectory() as folder:
        configuration = _CONFIGURATION.format(
            host=parts.hostname,
            port=parts.port,
            user=parts.username,
            password=parts.password,
            listen_port=port,
            pool_mode=pool_mode,
            pool_size=pool_size,
        )
        process = await asyncio.create_subprocess_exec(
            program("pgbouncer"),
            "--quiet",
            _write(Path(folder), configuration),
            user=user,
            cwd="/",
        )
        try:
            async with asyncio.timeout(10):
                await wait_until_listening("127.0.0.1", port)
            yield parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}").geturl()
        finally:
            process.send_signal(signal.SIGTERM)  # at once: SIGINT would wait for clients
            await process.wait()


def _write(folder: Path, configuration: str) -> str:
    folder.chmod(0o755)
    file = folder / "pgbouncer.ini"
    file.write_text(configuration)
    return str(file)
