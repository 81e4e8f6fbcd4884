"""The audit finds what we lack of a day, gets it, and says exactly what it couldn't get."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime, timedelta
from math import inf
from typing import Any

import msgspec
import pytest
from aiohttp import web
from sqlalchemy import update

from actors.completeness import audit as module
from actors.completeness import choose as choose_module
from actors.completeness.audit import audit_day
from actors.completeness.choose import choose
from actors.completeness.run import audit, audit_due, forget_filled_gaps
from actors.history import r2z2
from actors.history.bodies import source_of
from actors.history.run import import_day, schedule_days
from actors.history.turns import pause, take_turn
from actors.killmails import postpone
from actors.killmails.fetch import fetch
from actors.killmails.persist import persist, read, store
from actors.killmails.recall import recall
from actors.killmails.reject import record_rejections, reject
from actors.resources import Resources
from actors.shared.errors import RetryLater
from actors.shared.reference import encode_reference
from actors.shared.rejection import Rejection
from actors.shared.tables import (
    COMPLETENESS_DAYS,
    GAPS,
    HISTORY_DAYS,
    KILLMAILS,
    REJECTED,
    REQUEST_TURNS,
    UNOBTAINABLE,
)
from deploy.standin.killmails import UpstreamKillmail
from deploy.standin.server import Standin
from tests.support.esi import run, sent, server_that_says, set_faults, standin
from tests.support.made import a_reference
from tests.support.tables import rows

COUNT = 200
ACTORS = {"persist": persist, "reject": reject, "fetch": fetch, "import_day": import_day}


@pytest.fixture
async def upstream() -> AsyncIterator[Standin]:
    async with standin(COUNT) as started:
        yield started


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(r2z2, "SPACING_S", 0.0)
    monkeypatch.setattr(module, "SOON", timedelta())
    monkeypatch.setattr(postpone, "MIN_REFUSALS", 1)
    monkeypatch.setattr(postpone, "MIN_REFUSED_FOR", timedelta())
    yield
    for queue in ("database", "history", "esi"):
        sent(queue)


def played(upstream: Standin) -> list[UpstreamKillmail]:
    return list(upstream.dataset.killmails)


def day_of(upstream: Standin) -> date:
    (day,) = {datetime.fromtimestamp(one.killed_at_s, UTC).date() for one in played(upstream)}
    return day


async def store_all_but(opened: Resources, upstream: Standin, missing: set[int]) -> None:
    references = [
        a_reference(one.body, position, zkb=msgspec.Raw(one.zkb))
        for position, one in enumerate(played(upstream))
        if one.killmail_id not in missing
    ]
    await store(opened.database, *read(map(encode_reference, references)))


async def work(opened: Resources) -> None:
    """Do what timers and actors do with what was begun."""
    for _ in range(4):
        await run(recall)
        await run(schedule_days)
        while messages := [m for q in ("esi", "database", "history") for m in sent(q)]:
            for message in messages:
                if message.actor_name in ACTORS:
                    await run(ACTORS[message.actor_name], *message.args)


async def audited(opened: Resources, upstream: Standin) -> dict[str, Any]:
    """Audit the day until it isn't under repair."""
    args = opened.settings, opened.database, opened.http
    for _ in range(6):
        state = await audit_day(*args, day_of(upstream), COUNT)
        if state != "repairing":
            break
        await work(opened)
    (row,) = await rows(opened.database, COMPLETENESS_DAYS)
    return dict(row)


@pytest.mark.parametrize("most_from_esi", [200, 5])
async def test_what_is_missing_is_repaired_and_the_rest_is_reported(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch, most_from_esi: int
) -> None:
    monkeypatch.setattr(module, "MOST_FROM_ESI", most_from_esi)
    ids = [one.killmail_id for one in played(upstream)]
    missing, wrong, nobodys = set(ids[20:60]), set(ids[20:23]), set(ids[23:25])
    set_faults(
        upstream,
        history_wrong_hash=tuple(wrong),
        history_without_body=tuple(nobodys),
        esi_killmail_status=dict.fromkeys(nobodys, 404),
    )
    await store_all_but(opened, upstream, missing)
    row = await audited(opened, upstream)
    stored = {one["killmail_id"] for one in await rows(opened.database, KILLMAILS)}
    assert stored == set(ids) - nobodys
    assert (row["state"], row["have"], row["missing"]) == ("incomplete", COUNT - 2, 2)
    assert (row["hash_differs"], row["repaired"], row["upstream_total"]) == (3, 38, COUNT)
    unobtainable = await rows(opened.database, UNOBTAINABLE)
    assert {one["killmail_id"] for one in unobtainable} == nobodys
    assert all("404" in one["reason"] for one in unobtainable)

    asked = upstream.playback.stats.requests.copy()
    assert (await audited(opened, upstream))["state"] == "incomplete"
    await work(opened)
    again = upstream.playback.stats.requests - asked
    assert again == {("r2z2", "history", 200): 1}  # what nobody gives isn't asked for again

    set_faults(upstream)
    await store_all_but(opened, upstream, set())
    row = await audited(opened, upstream)
    assert (row["state"], row["missing"], row["hash_differs"]) == ("complete", 0, 0)
    assert await rows(opened.database, UNOBTAINABLE) == []


async def test_a_complete_day_costs_one_request(opened: Resources, upstream: Standin) -> None:
    await store_all_but(opened, upstream, set())
    row = await audited(opened, upstream)
    assert (row["state"], row["have"], row["missing"], row["repaired"]) == ("complete", COUNT, 0, 0)
    assert upstream.playback.stats.requests == {("r2z2", "history", 200): 1}


async def test_days_that_nobody_imported_are_noted_and_not_repaired(
    opened: Resources, upstream: Standin
) -> None:
    await audit_due(opened.settings, opened.database, opened.http, until_s=0)
    (row,) = await rows(opened.database, COMPLETENESS_DAYS)
    assert (row["state"], row["have"], row["missing"]) == ("not_imported", 0, COUNT)
    assert await rows(opened.database, HISTORY_DAYS) == []
    await store_all_but(opened, upstream, {one.killmail_id for one in played(upstream)[:20]})
    async with opened.database.begin() as connection:
        await connection.execute(update(COMPLETENESS_DAYS).values(upstream_total=1))
    await run(audit)
    (row,) = await rows(opened.database, COMPLETENESS_DAYS)
    assert (row["state"], row["missing"]) == ("repairing", 20)


async def test_a_gap_whose_days_are_whole_is_forgotten(
    opened: Resources, upstream: Standin
) -> None:
    await store_all_but(opened, upstream, set())
    day = day_of(upstream)
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC) + timedelta(days=1)
    gap = {"source": "r2z2:x", "first_position": 1, "last_position": 2, "reason": "absent"}
    async with opened.database.begin() as connection:
        await connection.execute(GAPS.insert().values(**gap, recorded_at=at))
    due = await choose(opened.database, {day: COUNT, day + timedelta(days=1): 5})
    assert due.days == [day + timedelta(days=1), day]
    await audited(opened, upstream)
    assert await forget_filled_gaps(opened.database) == 0  # one of its two days isn't audited
    row = (await rows(opened.database, COMPLETENESS_DAYS))[0] | {"day": day + timedelta(days=1)}
    async with opened.database.begin() as connection:
        await connection.execute(COMPLETENESS_DAYS.insert().values(row))
    assert await forget_filled_gaps(opened.database) == 1
    assert await rows(opened.database, GAPS) == []


async def test_recent_days_are_audited_daily_and_others_when_they_change(
    opened: Resources,
) -> None:
    now = datetime(2026, 11, 20, 7, tzinfo=UTC)
    days = [date(2026, 11, 19), date(2026, 1, 3), date(2026, 1, 2), date(2026, 1, 1)]
    totals = dict.fromkeys(days, 5)
    for day, next_check_at in zip(days, [now, now, now, now + timedelta(hours=1)], strict=True):
        row = {
            "day": day, "upstream_total": 5, "have": 5, "state": "complete",
            "checked_at": now - timedelta(days=1), "next_check_at": next_check_at,
        }  # fmt: skip
        async with opened.database.begin() as connection:
            await connection.execute(COMPLETENESS_DAYS.insert().values(row))
    assert (await choose(opened.database, totals, now=now)).days == days[:3]
    early = now.replace(hour=5)
    assert days[0] not in (await choose(opened.database, totals, now=early)).days
    totals[days[3]] = 6
    assert days[3] in (await choose(opened.database, totals, now=now)).days


@pytest.mark.parametrize(
    ("listed", "missing"), [({}, 5), ({"7": "a" * 40}, 5), ({"7": "no hash"}, 5)]
)
async def test_a_list_that_lacks_killmails_is_never_complete(
    opened: Resources, listed: dict[str, str], missing: int
) -> None:
    async def say(_: web.Request) -> web.Response:
        return web.json_response(listed)

    day = date(2026, 1, 1)
    async with server_that_says(say) as url:
        settings = opened.settings.model_copy(update={"r2z2_url": url})
        await audit_day(settings, opened.database, opened.http, day, 5)
    (row,) = await rows(opened.database, COMPLETENESS_DAYS)
    assert row["state"] in ("repairing", "incomplete")
    assert row["missing"] == missing
    at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    gap = {"source": "r2z2:x", "first_position": 1, "last_position": 2, "reason": "absent"}
    async with opened.database.begin() as connection:
        await connection.execute(GAPS.insert().values(**gap, recorded_at=at))
        await connection.execute(
            COMPLETENESS_DAYS.insert().values(row | {"day": date(2025, 12, 31)})
        )
    assert await forget_filled_gaps(opened.database) == 0


@pytest.mark.parametrize("wrong", ["{", '{"x":"y"}', '{"9223372036854775808":"a"}', "<html>"])
async def test_a_list_that_cannot_be_read_blocks_no_other_day(
    opened: Resources, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    days = [date(2026, 1, number) for number in (3, 2, 1)]
    monkeypatch.setattr(choose_module, "RECENT", timedelta(days=36_500))

    async def say(request: web.Request) -> web.Response:
        if request.path.endswith("totals.json"):
            return web.json_response({f"{day:%Y%m%d}": 0 for day in days})
        return web.Response(text=wrong if "20260103" in request.path else "{}")

    async with server_that_says(say) as url:
        settings = opened.settings.model_copy(update={"r2z2_url": url})
        await audit_due(settings, opened.database, opened.http, until_s=inf)
    assert {row["day"] for row in await rows(opened.database, COMPLETENESS_DAYS)} == set(days[1:])


@pytest.mark.parametrize("answer", [web.Response(status=404), web.Response(text='{"20260101":-1}')])
async def test_totals_that_are_no_totals_end_the_run(
    opened: Resources, answer: web.Response
) -> None:
    async def say(_: web.Request) -> web.Response:
        return web.Response(status=answer.status, text=answer.text)

    async with server_that_says(say) as url:
        settings = opened.settings.model_copy(update={"r2z2_url": url})
        with pytest.raises(RetryLater):
            await audit_due(settings, opened.database, opened.http, until_s=inf)


async def test_what_nobody_gave_is_asked_for_again_after_a_month(
    opened: Resources, upstream: Standin
) -> None:
    (first, *_) = played(upstream)
    nobodys = {first.killmail_id}
    set_faults(
        upstream,
        history_without_body=tuple(nobodys),
        esi_killmail_status=dict.fromkeys(nobodys, 404),
    )
    await store_all_but(opened, upstream, nobodys)
    assert (await audited(opened, upstream))["state"] == "incomplete"
    set_faults(upstream)
    assert (await audited(opened, upstream))["state"] == "incomplete"
    async with opened.database.begin() as connection:
        long_ago = datetime.now(UTC) - timedelta(days=31)
        await connection.execute(update(UNOBTAINABLE).values(recorded_at=long_ago))
    assert (await audited(opened, upstream))["state"] == "complete"


async def test_reasons_are_those_of_the_day_however_much_was_rejected_since(
    opened: Resources,
) -> None:
    now, day = datetime.now(UTC), date(2026, 1, 1)
    source, other = source_of("r2z2", day), source_of("r2z2", date(2026, 1, 2))
    rejections = [
        # hours ago, reason, source, killmail_id
        (3, "first", source, 1),
        (2, "last", source, 1),
        (2, "of another day", other, 2),
        (2, "of the feed", "r2z2:host", 3),
        (4, "of 4", source, 4),
        (9 * 24, "long ago", source, 5),
        *((1, "newer", source, number) for number in range(1_000, 6_001)),
    ]
    async with opened.database.begin() as connection:
        for hours in {row[0] for row in rejections}:
            some = [
                msgspec.json.encode(Rejection(reason, "{}", source, 1, killmail_id))
                for ago, reason, source, killmail_id in rejections
                if ago == hours
            ]
            await record_rejections(connection, some)
            await connection.execute(
                update(REJECTED)
                .where(REJECTED.c.rejected_at > now - timedelta(minutes=30))
                .values(rejected_at=now - timedelta(hours=hours))
            )
    wanted = dict.fromkeys(range(1, 6), "")
    assert await module._reasons(opened.database, day, wanted) == {1: "last", 4: "of 4"}


async def test_a_ban_stops_the_requests_of_all_processes(
    opened: Resources, upstream: Standin
) -> None:
    set_faults(upstream, r2z2_status=429)
    await run(audit)
    await run(audit)
    assert upstream.playback.stats.requests == {("r2z2", "totals", 429): 1}
    with pytest.raises(RetryLater) as refused:
        await take_turn(opened.database, "r2z2", 1.0)
    assert 3_500_000 < refused.value.delay_ms <= 3_600_000
    await pause(opened.database, "r2z2", 1_000)
    (row,) = await rows(opened.database, REQUEST_TURNS)
    assert row["next_at"] > datetime.now(UTC) + timedelta(minutes=50)  # the longer one counts


async def test_turns_are_spaced(opened: Resources) -> None:
    began = datetime.now(UTC)
    for _ in range(3):
        await take_turn(opened.database, "other", 0.1)
    assert datetime.now(UTC) - began >= timedelta(seconds=0.2)
