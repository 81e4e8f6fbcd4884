"""History by days: each is stored whole and once, and entered in the feed."""

import msgspec
import pytest
from sqlalchemy import false

from actors.history import day as module
from actors.history.schedule import (
    request_days,
)
from actors.killmails import bulk
from actors.killmails.persist import read, store
from actors.resources import Resources
from actors.shared.feed import HistorySource
from actors.shared.reference import encode_reference
from actors.shared.tables import (
    FEED,
    HISTORY_DAYS,
    IMPORTED_DAYS,
    KILLMAILS,
    UNPUBLISHED,
)
from deploy.standin.server import Standin
from tests.actors.history.days import COUNT, assert_whole, by_day, import_all, requested
from tests.support.made import a_reference
from tests.support.tables import rows

pytestmark = pytest.mark.usefixtures("small_steps")


@pytest.mark.parametrize("source", ["everef", "r2z2"])
async def test_each_day_is_stored_whole_and_entered_once(
    opened: Resources, upstream: Standin, source: HistorySource
) -> None:
    totals = await requested(opened, source)
    days = by_day(upstream)
    assert totals == {day: len(played) for day, played in days.items()}
    await import_all(opened)
    await assert_whole(opened, upstream)
    assert {
        (row["day"], row["source"], row["added"], row["total"])
        for row in await rows(opened.database, IMPORTED_DAYS)
    } == {(day, source, len(played), len(played)) for day, played in days.items()}
    feed = await rows(opened.database, FEED)
    assert [(row["kind"], row["killmail_id"]) for row in feed] == [("imported", None)] * len(days)
    assert await rows(opened.database, UNPUBLISHED) == []
    before = await rows(opened.database, HISTORY_DAYS)
    assert await request_days(opened.database, source, totals) == 0
    await import_all(opened)
    assert await rows(opened.database, HISTORY_DAYS) == before


async def test_what_is_stored_already_stays_and_is_not_counted(
    opened: Resources, upstream: Standin
) -> None:
    known = list(upstream.dataset.killmails)[:100]
    live = [a_reference(one.body, i, zkb=msgspec.Raw(one.zkb)) for i, one in enumerate(known)]
    await store(opened.database, *read(map(encode_reference, live)))
    ids = {one.killmail_id for one in known}
    before = [row for row in await rows(opened.database, KILLMAILS) if row["killmail_id"] in ids]
    await requested(opened)
    await import_all(opened)
    await assert_whole(opened, upstream)
    after = [row for row in await rows(opened.database, KILLMAILS) if row["killmail_id"] in ids]
    assert after == before
    assert sum(row["added"] for row in await rows(opened.database, IMPORTED_DAYS)) == COUNT - 100


async def test_what_is_stored_between_look_and_insert_is_left_alone(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = list(upstream.dataset.killmails)[:100]
    live = [a_reference(one.body, i, zkb=msgspec.Raw(one.zkb)) for i, one in enumerate(known)]
    await store(opened.database, *read(map(encode_reference, live)))
    monkeypatch.setattr(bulk, "among", lambda *_: false())  # it sees none of them
    await requested(opened)
    await import_all(opened)
    await assert_whole(opened, upstream)
    assert sum(row["added"] for row in await rows(opened.database, IMPORTED_DAYS)) == COUNT - 100


def test_on_sqlite_transactions_follow_the_time_that_they_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SQLITE_BATCH", (50, 250, 1_000))
    size = module._Size(is_sqlite=True)
    size.adapt(size.killmails, 1e-9)
    assert size.killmails == 2 * module.SQLITE_BATCH[1]  # not more at once
    size.adapt(400, module.SQLITE_HOLD_S * 4)
    assert size.killmails == 100
    size.adapt(100, 60.0)
    assert size.killmails == module.SQLITE_BATCH[0]
    for _ in range(9):
        size.adapt(size.killmails, 1e-9)
    assert size.killmails == module.SQLITE_BATCH[2]
    size = module._Size(is_sqlite=False)
    size.adapt(size.killmails, 60.0)
    assert size.killmails == module.BATCH
