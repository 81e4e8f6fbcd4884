"""`killstream diagnose esi` and `source`, on the stand-in."""

from pathlib import Path

import pytest

from actors.killmails.persist import read, store
from actors.shared.database import open_database
from actors.shared.reference import encode_reference
from actors.shared.settings import Settings
from deploy.cli.diagnose.esi import esi_steps
from deploy.cli.diagnose.source import source_steps
from deploy.migrate import migrate
from deploy.ports import free_port
from deploy.standin.server import Standin
from tests.deploy.cli.diagnose.support import all_of, failed, steps_of
from tests.support.esi import set_faults, standin
from tests.support.made import a_reference


def requests_of(upstream: Standin, service: str) -> int:
    """Count what the stand-in was asked."""
    counted = upstream.playback.stats.requests
    return sum(count for (name, *_), count in counted.items() if name == service)


async def test_an_esi_that_works_passes_each_step(tmp_path: Path) -> None:
    async with standin() as upstream:
        settings = Settings(esi_url=upstream.url, data_dir=tmp_path)
        found = await all_of(esi_steps(settings))
        assert steps_of(found) == ["environment", "game server", "names", "killmail"]
        assert found[-1].result == "skipped: no killmail is stored here"

        await migrate(settings)
        played = upstream.playback.dataset.killmails[0]
        async with open_database(settings) as database:
            await store(database, *read([encode_reference(a_reference(played.body))]))
        before = requests_of(upstream, "esi")
        found = await all_of(esi_steps(settings))
        assert f"{played.killmail_id}" in found[-1].result
        assert requests_of(upstream, "esi") - before == 3


async def test_each_failure_of_esi_has_its_advice() -> None:
    step, result, advice = failed(await all_of(esi_steps(Settings())))
    assert (step, "KILLSTREAM_CONTACT" in result, "set it" in advice) == ("game server", True, True)
    away = Settings(esi_url=f"http://127.0.0.1:{free_port()}")
    step, _, advice = failed(await all_of(esi_steps(away)))
    assert (step, "firewall" in advice) == ("game server", True)
    async with standin() as upstream:
        set_faults(upstream, esi_error_rate=1.0)
        step, _, advice = failed(await all_of(esi_steps(Settings(esi_url=upstream.url))))
        assert (step, "try again later" in advice) == ("game server", True)
        step, _, advice = failed(await all_of(esi_steps(Settings(esi_url=f"{upstream.url}/no"))))
        assert (step, "isn't ESI's address" in advice) == ("game server", True)


async def test_a_source_that_works_passes_each_step(tmp_path: Path) -> None:
    async with standin() as upstream:
        settings = Settings(r2z2_url=upstream.url, data_dir=tmp_path)
        found = await all_of(source_steps(settings))
        assert steps_of(found) == ["environment", "newest", "read position"]
        assert "killmail" in found[1].result
        assert requests_of(upstream, "r2z2") == 2

        polled = Settings(source="redisq", redisq_url=upstream.url, redisq_queue_id="real")
        found = await all_of(source_steps(polled))
        assert steps_of(found) == ["environment", "queue", "poll"]


@pytest.mark.parametrize(
    ("settings", "step", "text"),
    [
        ({}, "newest", "set it"),
        ({"source": "none"}, "environment", "SOURCE=r2z2"),
        ({"source": "redisq"}, "queue", "no other deployment uses"),
        ({"r2z2_url": "http://127.0.0.1:9"}, "newest", "firewall"),
    ],
    ids=["no contact", "none", "no queue", "away"],
)
async def test_each_failure_of_the_source_has_its_advice(
    settings: dict[str, str], step: str, text: str
) -> None:
    failing, _, advice = failed(await all_of(source_steps(Settings(**settings))))  # type: ignore[arg-type]
    assert (failing, text in advice) == (step, True), advice


async def test_another_server_at_the_url_is_reported() -> None:
    async with standin() as upstream:
        settings = Settings(r2z2_url=f"{upstream.url}/nowhere")
        step, result, advice = failed(await all_of(source_steps(settings)))
    assert (step, "404" in result, "isn't R2Z2's address" in advice) == ("newest", True, True)
