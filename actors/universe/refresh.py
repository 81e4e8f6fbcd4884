"""The actor that loads the static universe."""

from typing import Final

import structlog

from actors.broker import UNIVERSE_QUEUE, actor
from actors.resources import resources
from actors.shared.errors import Invalid, Misconfigured, ServerUnavailable
from actors.shared.outage import Outage, one_line
from actors.universe.load import OlderArchive, load_from_url
from actors.universe.schedule import checked, claim_check, leasing, postpone_check
from actors.universe.store import write_universe

log: Final = structlog.get_logger()

_outage: Final = Outage("the archive of static data")


@actor(queue_name=UNIVERSE_QUEUE, priority=0, scheduled=True)
async def load_universe() -> None:
    """Load the static universe if a check is due: at the first start, then once a day. Idempotent.

    One process loads at a time. After a failure it is tried again, at growing intervals; what was
    loaded before stays.
    """
    opened = resources()
    if not await claim_check(opened.database):
        return
    try:
        async with leasing(opened.database):
            await load_from_url(opened.settings, opened.database, opened.http)
    except OlderArchive as error:
        log.info("universe.kept", reason=str(error))
        async with opened.database.begin() as connection:
            await write_universe(connection, **checked())
    except (Invalid, Misconfigured, ServerUnavailable) as error:
        if opened.http.closed:  # this process ends; another one goes on when the lease is over
            return
        _outage.failed(error)
        await postpone_check(opened.database, one_line(error))
        return
    _outage.worked()
