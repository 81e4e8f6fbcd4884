"""What tests of the import of days share: the work of timer and actors, and the check of all."""

from datetime import UTC, date, datetime

import msgspec

from actors.history.run import import_day, schedule_days
from actors.history.schedule import (
    request_days,
)
from actors.history.sources import SOURCES
from actors.killmails.check.run import check_all
from actors.resources import Resources
from actors.shared.body import unpack as unpack_body
from actors.shared.feed import HistorySource
from actors.shared.tables import (
    ATTACKERS,
    KILLMAILS,
)
from deploy.standin.killmails import UpstreamKillmail
from deploy.standin.server import Standin
from tests.support.esi import run, sent
from tests.support.tables import rows

COUNT = 300
"""Killmails that the stand-in plays, of several days."""


def by_day(upstream: Standin) -> dict[date, list[UpstreamKillmail]]:
    days: dict[date, list[UpstreamKillmail]] = {}
    for one in upstream.dataset.killmails:
        days.setdefault(datetime.fromtimestamp(one.killed_at_s, UTC).date(), []).append(one)
    return days


async def requested(opened: Resources, source: HistorySource = "everef") -> dict[date, int]:
    totals = await SOURCES[source].totals(opened.settings, opened.http, opened.database)
    await request_days(opened.database, source, totals)
    return totals


async def import_all(opened: Resources) -> None:
    """Work as timer and actors do, until nothing is due."""
    await run(schedule_days)
    while messages := sent("history"):
        for message in messages:
            await run(import_day, *message.args)
        await run(schedule_days)


async def assert_whole(opened: Resources, upstream: Standin) -> None:
    """Check that all is stored, once, findable, and its days are in the feed."""
    played = list(upstream.dataset.killmails)
    stored = await rows(opened.database, KILLMAILS)
    assert {row["killmail_id"]: unpack_body(row["body"]) for row in stored} == {
        one.killmail_id: one.body for one in played
    }
    assert {row["killmail_id"]: row["killmail_hash"] for row in stored} == {
        one.killmail_id: one.killmail_hash for one in played
    }
    assert (await check_all(opened.database, mend=False)).differing.total() == 0
    attackers = sum(len(msgspec.json.decode(one.body)["attackers"]) for one in played)
    assert len(await rows(opened.database, ATTACKERS)) == attackers
