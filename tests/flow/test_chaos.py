"""Each kind of fault once, at random times, in one short run: nothing is lost, doubled or stuck.

`just bench chaos` is the long run.
"""

from pathlib import Path

import pytest

from actors.shared.settings import Settings
from tests.support.chaos_run import ChaosOptions, run_chaos

pytestmark = pytest.mark.crash

SHORT = ChaosOptions(
    killmails=1_000,
    rate_per_s=40.0,
    subscribers=2,
    silent_s=8.0,
    frozen_s=6.0,
    stale_s=8.0,
    late_s=4.0,
    wrong_for_s=12.0,
    wrong=("html", "empty", "cut"),  # a refusal is asked again after a minute
    deadline_s=120.0,
)


async def test_nothing_is_lost_or_doubled_under_all_faults_at_once(
    servers: Settings, tmp_path: Path
) -> None:
    said: list[str] = []
    verdict = await run_chaos(servers, tmp_path, SHORT, said.append)
    assert verdict["ok"], "\n".join([*said, str(verdict)])
