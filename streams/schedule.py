"""What has to happen from time to time, once for all processes: by the group's leader."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Final

from actors.broker import MAX_PRIORITY, enqueue
from actors.completeness.run import audit
from actors.entities.follow import follow_feed
from actors.entities.schedule import schedule_refreshes
from actors.history.imports import sync_zkillboard
from actors.history.run import schedule_days
from actors.killmails.compress import compress
from actors.killmails.publish import sweep
from actors.killmails.recall import recall
from actors.killmails.relist import relist
from actors.retention import remove_expired
from actors.shared.settings import settings
from actors.snapshots.take import take_snapshots
from actors.sync.delayed import publish_delayed
from actors.sync.schedule import schedule_syncs
from actors.universe.refresh import load_universe
from streams.app import app
from streams.intake import INTAKE

Work = Callable[[], Awaitable[None]]

LAST_RUNS: Final[dict[str, datetime | None]] = {}
"""The scheduled work, with its last run in this process."""
INTAKE_WORK: Final[set[str]] = set()
"""The scheduled work that doesn't run while the intake is paused."""


def every(interval_s: float, *, is_intake: bool = False) -> Callable[[Work], Work]:
    """Run work at this interval on the leader, and record its last run.

    Work that adds messages to the queues (`is_intake`) doesn't run while the intake is paused.
    """

    def declare(work: Work) -> Work:
        LAST_RUNS[work.__name__] = None
        if is_intake:
            INTAKE_WORK.add(work.__name__)

        @wraps(work)
        async def run() -> None:
            if not (is_intake and INTAKE.is_paused):
                await work()
                LAST_RUNS[work.__name__] = datetime.now(UTC)

        app.timer(interval=interval_s, on_leader=True)(run)
        return run

    return declare


@every(30.0)
async def sweep_unpublished() -> None:
    """Have the entries published that a crash left unpublished."""
    await enqueue(sweep)


@every(30.0)
async def recall_unpolled() -> None:
    """Have ledger entries sent again that no poller sends."""
    await enqueue(recall)


@every(5.0, is_intake=True)
async def start_due_syncs() -> None:
    """Have the syncs of users and corporations started that are due."""
    if settings().eve_client_id:
        await enqueue(schedule_syncs)


@every(30.0)
async def publish_due() -> None:
    """Have the killmails published whose publication was delayed until now."""
    await enqueue(publish_delayed)  # also when logins were disabled meanwhile


@every(10.0, is_intake=True)
async def continue_imports() -> None:
    """Have the imports of history from zKillboard go on."""
    await enqueue(sync_zkillboard)


@every(10.0, is_intake=True)
async def continue_history() -> None:
    """Have the days imported whose history was requested."""
    await enqueue(schedule_days, priority=MAX_PRIORITY)  # before the days that wait


@every(900.0, is_intake=True)
async def audit_days() -> None:
    """Have days compared with zKillboard's lists, and repaired."""
    await enqueue(audit)


@every(15.0, is_intake=True)
async def refresh_entities() -> None:
    """Have the entities refreshed that killmails mention, and each alliance once a day."""
    await enqueue(follow_feed)
    await enqueue(schedule_refreshes)


@every(600.0, is_intake=True)
async def snapshot_days() -> None:
    """Have the snapshots computed of the days that changed."""
    await enqueue(take_snapshots)


@every(10.0, is_intake=True)
async def check_universe() -> None:
    """Have the static universe loaded at the first start, and checked once a day."""
    await enqueue(load_universe)


@every(60.0, is_intake=True)
async def relist_killmails() -> None:
    """Have killmails listed by the universe that was loaded after they were stored."""
    await enqueue(relist)


@every(60.0, is_intake=True)
async def compress_bodies() -> None:
    """Have bodies compressed with a dictionary that is trained from the first ones."""
    await enqueue(compress)


@every(3600.0, is_intake=True)
async def remove_expired_records() -> None:
    """Have the rejected records and gaps removed whose days are over."""
    await enqueue(remove_expired)
