"""List killmails by the static universe that was loaded: those stored before lack its terms."""

from time import monotonic
from typing import Final

import structlog

from actors.broker import UNIVERSE_QUEUE, actor
from actors.killmails.check.run import check_all
from actors.killmails.check.state import universe_to_list
from actors.resources import resources

log: Final = structlog.get_logger()

WORKS_FOR_S: Final = 45.0
"""How long one message works; the next one goes on."""


@actor(queue_name=UNIVERSE_QUEUE, priority=8, scheduled=True)
async def relist() -> None:
    """Make the postings that follow from a newly loaded universe, a part at a time. Idempotent.

    It is a repair of all killmails (`killstream check --repair`), so it mends other damage, too.
    """
    database = resources().database
    universe = await universe_to_list(database)
    if universe is None:
        return
    outcome = await check_all(database, mend=True, until_s=monotonic() + WORKS_FOR_S)
    log.info(
        "universe.listed" if outcome.is_whole else "universe.listing",
        killmails=outcome.killmails,
        changed=outcome.differing["postings"],
    )
