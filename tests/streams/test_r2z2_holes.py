"""Numbers without a file: late, never, no more; and a `sequence.json` that is wrong."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from streams.ledger import read_cursor
from streams.sources.r2z2 import open_r2z2, r2z2_name
from streams.sources.r2z2.tip import Tip
from tests.streams.files import FIRST, Files, killmail, set_back, settings_for
from tests.streams.rig import QUICK, Log, poll_until, polling, until
from tests.support.ledger import HASH, change_ledger, gaps, ledger, record_positions

DAY_S = 86_400.0
PATIENT = replace(QUICK, waits=replace(QUICK.waits, late_s=(3600.0,)))
"""Holes aren't asked for again within a test, unless it makes them due."""


def files_of(*runs: range, newest: int, age_s: float = 0.0) -> Files:
    return Files({n: killmail(n, age_s) for run in runs for n in run}, newest=newest)


async def make_due(log: Log) -> None:
    await change_ledger(log.database, next_try_at=datetime.now(UTC))


async def test_a_hole_is_asked_for_again_after_a_restart(log: Log) -> None:
    files = files_of(range(FIRST, FIRST + 3), range(FIRST + 4, FIRST + 6), newest=FIRST)
    async with files.served() as url:
        settings = settings_for(url)
        await poll_until(lambda: FIRST + 5 in log.durable, settings, log, PATIENT)
        assert await ledger(log.database, "position", "kind", "tries") == [(FIRST + 3, "hole", 0)]
        asked = len(files.asked_at_s[str(FIRST + 3)])
        files.files[FIRST + 3] = killmail(FIRST + 3)
        files.files[FIRST + 6] = killmail(FIRST + 6)
        # Not due: a start alone asks for nothing again.
        await poll_until(lambda: FIRST + 6 in log.durable, settings, log, PATIENT)
        assert len(files.asked_at_s[str(FIRST + 3)]) == asked
        await make_due(log)
        await poll_until(lambda: FIRST + 3 in log.durable, settings, log, PATIENT, acked=True)
    assert await ledger(log.database) == []


async def test_a_hole_is_asked_for_at_growing_intervals(log: Log) -> None:
    options = replace(QUICK, waits=replace(QUICK.waits, late_s=(0.1, 0.2, 0.4)))
    files = files_of(range(FIRST, FIRST + 1), range(FIRST + 2, FIRST + 3), newest=FIRST)
    async with files.served() as url:
        asked_at_s = files.asked_at_s.setdefault(str(FIRST + 1), [])
        await poll_until(lambda: len(asked_at_s) == 6, settings_for(url), log, options)
    between_s = [after - before for before, after in pairwise(asked_at_s)]
    assert all(s >= least for s, least in zip(between_s[1:], (0.1, 0.2, 0.4, 0.4), strict=True))
    [tries] = await ledger(log.database, "tries")
    assert tries >= 4


async def test_a_hole_becomes_a_gap_after_a_day(log: Log) -> None:
    files = files_of(range(FIRST, FIRST + 1), range(FIRST + 4, FIRST + 5), newest=FIRST)
    async with files.served() as url:
        settings = settings_for(url)
        await poll_until(lambda: FIRST + 4 in log.durable, settings, log, PATIENT)
        received_at = datetime.now(UTC) - timedelta(seconds=DAY_S - 60)
        await change_ledger(log.database, received_at=received_at)

        async def tried() -> bool:
            return await ledger(log.database, "tries") == [1, 1, 1]

        async def gone() -> bool:
            return await ledger(log.database) == []

        await make_due(log)
        async with polling(settings, log, PATIENT) as counts:
            await until(tried)
            # The last try is due when the day is over, not an hour later.
            due_at = set(await ledger(log.database, "next_try_at"))
            assert due_at == {received_at + timedelta(seconds=DAY_S)}
            assert await gaps(log.database) == []
            await change_ledger(log.database, received_at=received_at - timedelta(seconds=60))
            await make_due(log)
            await until(gone)
    assert counts.skipped["absent"] == 3
    assert await gaps(log.database) == [(FIRST + 1, FIRST + 3, "absent")]
    assert await ledger(log.database) == []


def counted(files: Files, number: int) -> int:
    return len(files.asked_at_s.get(str(number), ()))


async def test_a_run_of_late_files_is_not_expired(log: Log) -> None:
    """26 absent files that come a little later, while the feed goes on."""
    files = files_of(range(FIRST, FIRST + 1), range(FIRST + 27, FIRST + 30), newest=FIRST)
    async with files.served() as url:

        def come_late() -> bool:
            if FIRST + 29 in log.durable:
                files.files |= {n: killmail(n) for n in range(FIRST + 1, FIRST + 27)}
            return log.durable == set(range(FIRST, FIRST + 30))

        await poll_until(come_late, settings_for(url), log, acked=True)
    assert await gaps(log.database) == []


async def test_thousands_of_young_holes_are_holes(log: Log) -> None:
    last = FIRST + 5001
    files = files_of(range(FIRST, FIRST + 1), range(last, last + 1), newest=last)
    async with files.served() as url:
        settings = settings_for(url)
        await record_positions(log.database, r2z2_name(settings), FIRST - 1)
        await poll_until(lambda: last in log.durable, settings, log, PATIENT)
    assert await ledger(log.database, "position") == list(range(FIRST + 1, last))
    assert await gaps(log.database) == []
    assert files.asked < 5100


@pytest.mark.parametrize("age_s", [0.0, DAY_S - 60])
async def test_runs_of_holes_are_no_edge(log: Log, age_s: float) -> None:
    """After days away: none of the files that are there is skipped, wherever holes are."""
    gone = FIRST + 400
    living = (
        range(gone, gone + 100),
        range(gone + 160, gone + 300),
        range(gone + 480, gone + 500),
        range(gone + 510, gone + 600),
    )
    files = files_of(*living, newest=gone + 599, age_s=age_s)
    async with files.served() as url:
        settings = settings_for(url)
        await record_positions(log.database, r2z2_name(settings), FIRST - 1)
        await set_back(log.database, 3 * DAY_S)
        await poll_until(lambda: gone + 599 in log.durable, settings, log, PATIENT)
    assert log.durable == {n for run in living for n in run}
    assert await gaps(log.database) == [(FIRST, gone - 1, "expired")]
    holes = [n for n in range(gone, gone + 600) if n not in log.durable]
    assert await ledger(log.database, "position") == holes


async def test_a_long_run_of_holes_is_no_edge_before_young_files(log: Log) -> None:
    """The oldest files that are there must be about a day old."""
    old, young = range(FIRST + 400, FIRST + 500), range(FIRST + 1500, FIRST + 1600)
    files = files_of(old, young, newest=FIRST + 1599)
    files.files |= {n: killmail(n, DAY_S - 60) for n in old}
    async with files.served() as url:
        settings = settings_for(url)
        await record_positions(log.database, r2z2_name(settings), FIRST - 1)
        await set_back(log.database, 3 * DAY_S)
        await poll_until(lambda: young[-1] in log.durable, settings, log, PATIENT)
    assert log.durable == {*old, *young}
    assert await gaps(log.database) == [(FIRST, FIRST + 399, "expired")]


async def test_behind_a_file_of_yesterday_the_walk_may_jump(log: Log) -> None:
    """The age of the last file that was read counts, not how long the poller was away."""
    old, young = range(FIRST, FIRST + 5), range(FIRST + 300, FIRST + 310)
    files = files_of(old, young, newest=FIRST + 309)
    files.files |= {n: killmail(n, DAY_S + 60) for n in old}
    async with files.served() as url:
        settings = settings_for(url)
        await record_positions(log.database, r2z2_name(settings), FIRST - 1)
        await poll_until(lambda: young[-1] in log.durable, settings, log, PATIENT)
    assert log.durable == {*old, *young}
    assert await gaps(log.database) == [(FIRST + 5, FIRST + 299, "expired")]
    assert await ledger(log.database) == []


@pytest.mark.parametrize("said", [FIRST, 0])
async def test_an_old_sequence_number_is_passed_over(log: Log, said: int) -> None:
    """As an edge of the CDN gives it for minutes, while live killmails keep coming."""
    begin = FIRST + 400
    files = files_of(range(FIRST, begin + 1), newest=begin)

    def one_by_one() -> bool:
        last = max(log.durable, default=0)
        if last >= begin:
            files.newest = said
            files.files[last + 1] = killmail(last + 1)
        return last >= begin + 120

    async with files.served() as url:
        settings = settings_for(url)
        await poll_until(one_by_one, settings, log)
        assert len(files.asked_at_s["sequence"]) >= 3
        assert await read_cursor(log.database, r2z2_name(settings)) >= begin + 120  # type: ignore[operator]
    positions = [reference.position for reference in log.taken]
    assert positions == list(range(begin, begin + len(positions)))
    assert await ledger(log.database) == []


async def test_a_low_sequence_number_is_no_reset_while_the_cursors_file_is_there(log: Log) -> None:
    files = files_of(range(FIRST + 390, FIRST + 400), newest=FIRST + 399)
    files.files[FIRST] = killmail(1, age_s=-9.0)
    async with files.served() as url:
        settings = settings_for(url)
        await poll_until(lambda: FIRST + 399 in log.durable, settings, log)
        files.newest = FIRST
        low_s = QUICK.waits.reset_s * 4
        began_s = time.monotonic()

        def long_enough() -> bool:
            if time.monotonic() > began_s + low_s:
                files.files[FIRST + 400] = killmail(FIRST + 400)
            return FIRST + 400 in log.durable

        await poll_until(long_enough, settings, log)
        cursor = await read_cursor(log.database, r2z2_name(settings))
    assert counted(files, FIRST) == 0 or 1 not in log.durable
    assert cursor == FIRST + 400


async def test_a_low_number_whose_file_is_older_is_no_reset(log: Log) -> None:
    """The cursor's file is gone, as after a purge; the low number is an old one of this feed."""
    cursor = FIRST + 400
    files = files_of(range(FIRST, FIRST + 1), newest=FIRST, age_s=60.0)
    async with files.served() as url:
        settings = settings_for(url)
        await record_positions(log.database, r2z2_name(settings), cursor)
        began_s = time.monotonic()

        def long_enough() -> bool:
            if time.monotonic() > began_s + QUICK.waits.reset_s * 4:
                files.files[cursor + 1] = killmail(cursor + 1)
            return bool(log.durable)

        await poll_until(long_enough, settings, log)
    assert len(files.asked_at_s["sequence"]) >= 3
    assert files.asked_at_s[str(FIRST)]
    assert log.durable == {cursor + 1}


async def test_low_numbers_count_only_after_a_while(log: Log) -> None:
    """Not the first ones, however many, and only without a good one between."""
    settings = settings_for("http://127.0.0.1:9")
    async with open_r2z2(settings, QUICK.waits, log.database) as source:
        tip = Tip(source._files, not_yet_s=0.0, reset_s=0.2)
    assert not any(tip.update(FIRST, FIRST + 400) for _ in range(9))
    await asyncio.sleep(0.3)
    assert tip.update(FIRST, FIRST + 400)
    assert not tip.update(FIRST + 400, FIRST + 400)
    assert not tip.update(FIRST, FIRST + 400)


@pytest.mark.parametrize("said", [FIRST + 5000, 10**12])
async def test_a_sequence_number_without_its_file_is_passed_over(log: Log, said: int) -> None:
    """Else all that comes would be taken for late files of holes."""
    files = files_of(range(FIRST, FIRST + 60), newest=FIRST)

    def one_by_one() -> bool:
        last = max(log.durable, default=0)
        if last >= FIRST + 40:
            files.newest = said
        if last >= FIRST + 59:
            files.files[last + 1] = killmail(last + 1)
        return last >= FIRST + 120

    async with files.served() as url:
        settings = settings_for(url)
        await poll_until(one_by_one, settings, log, PATIENT)
        assert str(said) in files.asked_at_s
        assert await ledger(log.database) == []
    positions = [reference.position for reference in log.taken]
    assert positions == list(range(FIRST, FIRST + len(positions)))


async def test_what_the_upstream_has_no_more_is_sent_without_a_body(log: Log) -> None:
    """It was read, and never became durable: ESI has it."""
    files = files_of(range(FIRST, FIRST + 1), newest=FIRST)
    async with files.served() as url:
        settings = settings_for(url)
        name = r2z2_name(settings)
        await record_positions(log.database, name, FIRST - 1, received=[FIRST - 9])
        await change_ledger(log.database, tries=5)
        await make_due(log)
        counts = await poll_until(lambda: FIRST - 9 in log.durable, settings, log, acked=True)
    assert counts.skipped["gone"] >= 1
    [gone] = [r for r in log.taken if r.position == FIRST - 9]
    assert (gone.killmail_id, gone.hash, bytes(gone.body), bytes(gone.zkb)) == (
        FIRST - 9,
        HASH,
        b"",
        b"",
    )
    assert await gaps(log.database) == []


@pytest.mark.parametrize("now", [b'{"killmail_id":null}', b"<html>", b"[]"])
async def test_a_file_that_is_overwritten_costs_no_killmail_that_it_had(
    log: Log, now: bytes
) -> None:
    """It was read, and never became durable; ESI has it."""
    files = files_of(range(FIRST, FIRST + 1), newest=FIRST)
    files.files[FIRST - 9] = now
    async with files.served() as url:
        settings = settings_for(url)
        await record_positions(log.database, r2z2_name(settings), FIRST - 1, received=[FIRST - 9])
        await make_due(log)
        await poll_until(lambda: FIRST - 9 in log.durable, settings, log, acked=True)
    assert log.refused == []
    assert {bytes(r.body) for r in log.taken if r.position == FIRST - 9} == {b""}


async def test_an_absent_file_is_tried_a_few_times_before_esi_is_asked(log: Log) -> None:
    log.persists = False
    options = replace(QUICK, patience=timedelta(milliseconds=100))
    files = files_of(range(0), newest=FIRST)
    async with files.served() as url:
        settings = settings_for(url)
        await record_positions(log.database, r2z2_name(settings), FIRST, received=[FIRST])
        await poll_until(lambda: bool(log.taken), settings, log, options)
    assert counted(files, FIRST) == 3


async def test_six_holes_at_the_tip_cost_three_waits(log: Log) -> None:
    """They cost ten before: the walk looks further ahead with no more requests."""
    not_yet_s = 0.2
    options = replace(PATIENT, waits=replace(PATIENT.waits, not_yet_s=not_yet_s))
    files = files_of(range(FIRST, FIRST + 1), range(FIRST + 7, FIRST + 8), newest=FIRST)
    async with files.served() as url:
        await poll_until(lambda: FIRST + 7 in log.durable, settings_for(url), log, options)
    first_404_s = files.asked_at_s[str(FIRST + 1)][0]
    waits = (files.asked_at_s[str(FIRST + 7)][-1] - first_404_s) / not_yet_s
    assert waits < 4
    assert files.asked <= 20
    assert await ledger(log.database, "position") == list(range(FIRST + 1, FIRST + 7))


async def test_no_number_is_asked_for_again_too_early(log: Log) -> None:
    not_yet_s = 0.15
    options = replace(PATIENT, waits=replace(PATIENT.waits, not_yet_s=not_yet_s))
    files = files_of(range(FIRST, FIRST + 1), newest=FIRST)
    async with files.served() as url:
        settings = settings_for(url)
        task = asyncio.create_task(
            poll_until(lambda: FIRST + 12 in log.durable, settings, log, options)
        )
        for number in (FIRST + 3, FIRST + 9, FIRST + 12):
            await asyncio.sleep(6 * not_yet_s)
            files.files[number] = killmail(number)
        await task
    for name, asked_at_s in files.asked_at_s.items():
        answered_200 = name == "sequence" or int(name) in files.files
        between_s = [after - before for before, after in pairwise(asked_at_s)]
        assert answered_200 or min(between_s, default=9.0) >= not_yet_s * 0.95
