"""How processes start: a mistake ends each of them alike, and a wait for a server can be ended."""

import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from actors.shared.settings import Settings
from deploy.ports import free_port
from tests.support.processes import Killstream, start_killstream
from tests.support.servers import empty_servers

pytestmark = pytest.mark.timeout(120)

PROCESSES = (["streams"], ["actors"], ["actors", "--processes=2"], ["up"])
NOBODY = "http://127.0.0.1:1"


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[Settings]:
    """What each process needs, on the tests' servers."""
    async with empty_servers() as servers:
        yield servers.model_copy(
            update={
                "r2z2_url": NOBODY,
                "esi_url": NOBODY,
                "data_dir": tmp_path / "data",
                "api_port": free_port(),
            }
        )


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port where another server listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


@asynccontextmanager
async def started_together(
    settings: Settings, folder: Path, commands: Sequence[Sequence[str]] = PROCESSES
) -> AsyncIterator[list[Killstream]]:
    """Start processes at once; kill what is left of them with the block."""
    started = [
        await start_killstream(*command, settings=settings, log=folder / f"{number}.log")
        for number, command in enumerate(commands)
    ]
    try:
        yield started
    finally:
        for process in started:
            await process.kill()


@pytest.mark.service
async def test_a_wrong_password_of_rabbitmq_ends_each_with_one_line(
    settings: Settings, tmp_path: Path
) -> None:
    url = settings.rabbitmq_url.replace(":killstream@", ":s3cret@")
    wrong = settings.model_copy(update={"rabbitmq_url": url})
    async with started_together(wrong, tmp_path, (["streams"], ["actors"], ["up"])) as processes:
        for started in processes:
            assert await started.ended() == 2
            log = started.log.read_text()
            assert log.count("\nkillstream: ") == 1, log
            assert "refuses the connection" in log
            assert "KILLSTREAM_RABBITMQ_URL" in log
            assert "Traceback" not in log
            assert "s3cret" not in log


@pytest.mark.service
async def test_a_signal_ends_the_wait_for_a_server(settings: Settings, tmp_path: Path) -> None:
    url = f"amqp://u:p@127.0.0.1:{free_port()}/v"
    away = settings.model_copy(update={"rabbitmq_url": url})
    async with started_together(away, tmp_path) as processes:
        for started in processes:
            await started.wait_for_output("server.unavailable")
            began_s = time.monotonic()
            assert await started.stop() == 0, started.log.read_text()
            assert time.monotonic() - began_s < 15
            assert started.log.read_text().count("server.unavailable") == 1


async def test_an_address_in_use_ends_each_process_before_it_starts(
    tmp_path: Path, taken_port: int
) -> None:
    settings = Settings(
        r2z2_url=NOBODY, esi_url=NOBODY, data_dir=tmp_path / "data", api_port=taken_port
    )
    commands = (["up"], ["demo", f"--port={taken_port}"])
    async with started_together(settings, tmp_path, commands) as processes:
        for started in processes:
            assert await started.ended() == 2
            log = started.log.read_text()
            assert f"can't listen on 127.0.0.1 port {taken_port} (Address already in use):" in log
            assert '"ready"' not in log
            assert "in a browser" not in log
    assert not settings.data_dir.exists()


@pytest.mark.service
async def test_an_address_in_use_is_reported_before_the_wait_for_the_database(
    tmp_path: Path, taken_port: int
) -> None:
    settings = Settings(
        database_url=f"postgresql://u:p@127.0.0.1:{free_port()}/d",
        redis_url=f"redis://127.0.0.1:{free_port()}/0",
        api_port=taken_port,
    )
    async with started_together(settings, tmp_path, [["api"]]) as (api,):
        assert await api.ended(30) == 2
        assert "can't listen" in api.log.read_text()
