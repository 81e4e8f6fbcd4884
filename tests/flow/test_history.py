"""History is imported by several processes that are killed, while killmails come live."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from actors.shared.settings import Settings
from tests.support.history_run import HistoryOptions, is_good, run_history


@pytest.mark.crash
async def test_killed_importers_store_and_enter_each_day_once(tmp_path: Path) -> None:
    counts = {date(2015, 1, 1) + timedelta(days=n): 250 for n in range(10)} | {
        date(2015, 2, 1): 4_000
    }
    options = HistoryOptions(
        counts=counts, kills=3, lease_s=3.0, until_published=False, timeout_s=100
    )
    verdict = await run_history(Settings(data_dir=tmp_path / "data"), tmp_path, options, print)
    assert is_good(verdict, len(counts)), verdict
    assert verdict["killed"] == 3
    assert verdict["longest_wait_s"] < 1  # as deploy/README.md promises
