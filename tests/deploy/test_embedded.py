"""`killstream up`: what it refuses, and what it survives."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import pytest

from actors.shared.settings import Settings
from deploy.datadir import lock_data_dir
from deploy.ports import free_port
from deploy.standin.server import StandinOptions, load_dataset, start_standin
from tests.flow.checks import assert_stored
from tests.support.pipeline import pipeline
from tests.support.processes import children, frozen, killstream
from tests.support.subscriber import Subscriber
from tests.support.waiting import within

KILLMAILS = 400
RATE_PER_S = 20.0
ENDS_WITHIN_S = 60.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An embedded Killstream whose upstream isn't there."""
    nobody = f"http://127.0.0.1:{free_port()}"
    return Settings(
        data_dir=tmp_path / "data", api_port=free_port(), r2z2_url=nobody, esi_url=nobody
    )


async def test_a_second_process_in_the_data_directory_is_refused(
    settings: Settings, tmp_path: Path
) -> None:
    async with killstream("up", settings=settings, log=tmp_path / "first.log") as first:
        await first.wait_for_output('"part": "api"')
        log = tmp_path / "second.log"
        other_port = settings.model_copy(update={"api_port": free_port()})
        async with killstream("up", settings=other_port, log=log) as second:
            assert await second.ended(ENDS_WITHIN_S) == 2
        assert (
            f"killstream: process {first.pid} already runs in {settings.data_dir}"
            in log.read_text()
        )
        assert "Traceback" not in log.read_text()


async def test_each_part_says_when_it_is_ready(settings: Settings, tmp_path: Path) -> None:
    async with (
        killstream("up", settings=settings, log=tmp_path / "up.log") as up,
        within(60, lambda: f"only {list(ready)} are ready"),
    ):
        while len(ready := ready_lines(up.log.read_text())) < 3:
            await asyncio.sleep(0.05)
    address = f"http://127.0.0.1:{settings.api_port}/graphql"
    assert ready["api"]["address"] == address
    assert ready["streams"]["source"] == "r2z2"
    assert ready["actors"]["queues"] == "all"


def ready_lines(log: str) -> dict[str, dict[str, str]]:
    """Return the log's lines of parts that are ready."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return {line["part"]: line for line in lines if line["event"] == "ready"}


async def test_the_directory_is_unlocked_after_a_crash(settings: Settings, tmp_path: Path) -> None:
    async with killstream("up", settings=settings, log=tmp_path / "first.log") as first:
        await first.wait_for_output('"part": "api"')
        await first.kill()
    with lock_data_dir(settings.data_dir):
        pass


async def test_without_a_contact_it_ends_before_it_creates_files(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    log = tmp_path / "up.log"
    async with killstream("up", settings=settings, log=log) as refused:
        assert await refused.ended(ENDS_WITHIN_S) == 2
    assert "killstream: set KILLSTREAM_CONTACT" in log.read_text()
    assert "r2z2.zkillboard.com" in log.read_text().splitlines()[-2]
    assert not settings.data_dir.exists()


async def test_the_data_directory_is_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KILLSTREAM_DATA_DIR", raising=False)
    assert Settings().data_dir == Path.cwd() / ".killstream"
    monkeypatch.setenv("KILLSTREAM_DATA_DIR", "elsewhere")
    assert Settings().data_dir == Path.cwd() / "elsewhere"


@pytest.mark.crash
async def test_continues_after_its_event_log_died(tmp_path: Path) -> None:
    options = StandinOptions(synthetic=KILLMAILS, rate_per_s=RATE_PER_S, limits=False)
    played = {played.killmail_id: played.body for played in load_dataset(options).killmails}
    standin = await start_standin(options)
    upstream = {"r2z2_url": standin.url, "esi_url": standin.url, "r2z2_requests_per_s": 100.0}
    settings = Settings(data_dir=tmp_path / "data")
    try:
        async with pipeline(settings, tmp_path, parts=("up",), **upstream) as pipe:
            subscriber = Subscriber(pipe.url, after=0)
            listening = asyncio.create_task(subscriber.run())
            for share in (0.1, 0.3):
                await pipe.until(int(share * KILLMAILS).__le__)
                (event_log,) = children(pipe.running["up"].pid)
                os.kill(event_log, signal.SIGKILL)
            await pipe.until(lambda published: published >= KILLMAILS, timeout_s=60)
            await subscriber.until(KILLMAILS, timeout_s=30)
            listening.cancel()
            await assert_stored(pipe.database, played)
            assert subscriber.seen.total() == KILLMAILS
            assert await pipe.stop("up") == 0
    finally:
        await standin.stop()


@pytest.mark.crash
async def test_ends_in_time_while_its_event_log_is_frozen(
    settings: Settings, tmp_path: Path
) -> None:
    async with killstream("up", settings=settings, log=tmp_path / "up.log") as up:
        await up.wait_for_output('"part": "streams"')
        with frozen(children(up.pid)):
            began_s = time.monotonic()
            await up.stop()
        assert time.monotonic() - began_s < 25
        assert "runtime_s" in up.log.read_text().splitlines()[-1]
