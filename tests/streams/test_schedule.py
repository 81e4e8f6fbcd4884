"""The leader's scheduled work: each is reported, and what takes work in can be paused."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from actors.shared import pauses
from actors.shared.settings import Settings
from streams import schedule
from streams.intake import INTAKE

WORK = {
    name: work
    for name, work in vars(schedule).items()
    if inspect.iscoroutinefunction(work) and inspect.unwrap(work).__module__ == schedule.__name__
}


@pytest.fixture
def enqueued(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the work sends."""
    names: list[str] = []

    async def record(unit: Any, *_: Any, **_options: Any) -> None:
        names.append(unit.actor_name)

    monkeypatch.setattr(schedule, "enqueue", record)
    with_logins = Settings(eve_client_id="x", token_keys=SecretStr(Fernet.generate_key().decode()))
    monkeypatch.setattr(schedule, "settings", lambda: with_logins)
    yield names
    INTAKE.switch(frozenset())
    for name in schedule.LAST_RUNS:
        schedule.LAST_RUNS[name] = None


def test_all_work_is_reported() -> None:
    assert schedule.LAST_RUNS.keys() == WORK.keys()


async def test_work_that_runs_is_reported_with_its_time(enqueued: list[str]) -> None:
    for work in WORK.values():
        await work()
    assert None not in schedule.LAST_RUNS.values()
    assert {"schedule_syncs", "publish_delayed", "sync_zkillboard"} < set(enqueued)


async def test_what_is_stored_is_still_published_while_the_intake_is_paused(
    enqueued: list[str],
) -> None:
    INTAKE.switch(frozenset({pauses.INTAKE}))
    for work in WORK.values():
        await work()
    assert set(enqueued) == {"sweep", "recall", "publish_delayed"}
    assert {name for name, at in schedule.LAST_RUNS.items() if at is None} == schedule.INTAKE_WORK
