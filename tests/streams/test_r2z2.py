from itertools import pairwise

import msgspec
import pytest
from aiohttp import web

from actors.shared.errors import Misconfigured
from actors.shared.settings import Settings
from deploy.standin.dataset import Dataset
from deploy.standin.server import Standin
from streams.ledger import read_cursor
from streams.poll import Counts
from streams.sources.r2z2 import r2z2_name
from tests.streams.files import FIRST, Files, killmail, set_back, settings_for
from tests.streams.rig import Log, dataset_ids, poll_until, standin, upstream
from tests.support.ledger import gaps, ledger, record_positions

DAY_S = 86_400.0


async def poll_all(served: Standin, log: Log, per_s: float = 5000) -> Counts:
    wanted = dataset_ids(served.dataset)
    settings = settings_for(served.url, per_s)
    return await poll_until(lambda: log.durable >= wanted, settings, log, acked=True)


def numbers_of(dataset: Dataset, kind: str) -> set[int]:
    numbers = range(dataset.first_sequence, dataset.first_sequence + dataset.released(0))
    return {n for n in numbers if dataset.slot(n - dataset.first_sequence).kind == kind}


async def test_every_killmail_arrives_as_it_is(log: Log) -> None:
    async with standin() as served:
        counts = await poll_all(served, log)
        dataset = served.dataset
    assert counts.received == len(log.taken) == len(dataset.killmails)
    for reference in log.taken:
        played = dataset.killmails.find(reference.killmail_id)
        assert played
        assert bytes(reference.body) == played.body
        assert bytes(reference.zkb) == played.zkb
        assert reference.hash == played.killmail_hash
        assert reference.source == f"r2z2:{served.url.removeprefix('http://')}"
    assert [a.position + 1 for a, _ in pairwise(log.taken)] == [b.position for b in log.taken[1:]]


FAULTS = {
    "hole_rate": 0.15,
    "null_rate": 0.1,
    "html_rate": 0.15,
    "duplicate_rate": 0.1,
    "rewrite_rate": 0.1,
    "shuffle": 20,
}


@pytest.mark.parametrize("per_s", [5000, 15])
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_every_killmail_arrives_whatever_is_wrong(log: Log, seed: int, per_s: float) -> None:
    killmails = 300 if per_s > 15 else 25
    async with standin(FAULTS, synthetic=killmails, seed=seed) as served:
        await poll_all(served, log, per_s)
    assert not log.refused


async def test_a_tip_full_of_holes_is_passed(log: Log) -> None:
    async with standin({"hole_rate": 0.6}, rate_per_s=400) as served:
        counts = await poll_all(served, log)
    assert counts.skipped["hole"] > 0


async def test_only_holes_and_placeholders_are_passed(log: Log) -> None:
    faults = {"hole_rate": 0.2, "null_rate": 0.2}
    async with standin(faults, synthetic=200) as served:
        counts = await poll_all(served, log)
        holes, nulls = numbers_of(served.dataset, "hole"), numbers_of(served.dataset, "null")
    last = max(reference.position for reference in log.taken)
    assert counts.skipped["hole"] == len([n for n in holes if n < last])
    assert counts.skipped["placeholder"] == len([n for n in nulls if n < last])


async def test_a_rewritten_file_is_read_again(log: Log) -> None:
    async with standin({"rewrite_rate": 0.3}, synthetic=100) as served:
        dataset = served.dataset
        slots = [dataset.slot(position) for position in range(dataset.released(0))]
        rewritten = {dataset.first_sequence + s.updates for s in slots if s.updates is not None}
        wanted = dataset_ids(dataset)

        def all_read_again() -> bool:
            labels = {r.position: msgspec.json.decode(r.zkb)["labels"] for r in log.taken}
            read_again = all("ganked" in labels.get(number, ()) for number in rewritten)
            return log.durable >= wanted and read_again

        await poll_until(all_read_again, settings_for(served.url), log)
    assert rewritten
    for number in rewritten:
        versions = [r for r in log.taken if r.position == number]
        assert versions[-1].as_of == max(version.as_of for version in versions)


async def test_the_pace_is_never_exceeded(log: Log) -> None:
    async with standin(limits=True, synthetic=50) as served:
        await poll_all(served, log, per_s=15)
        stats = served.control.counted()
    assert stats["r2z2"]["refused"] == 0
    assert stats["r2z2"]["highest_per_s"] <= 15


async def test_a_ban_is_waited_out(log: Log) -> None:
    async with standin(limits=True, synthetic=20, r2z2_per_s=10, r2z2_ban_s=0.2) as served:
        await poll_all(served, log, per_s=5000)
        stats = served.control.counted()
    # Six at once run into it; after that one at a time asks whether it is over.
    assert 0 < stats["r2z2"]["refused"] < 20


async def test_an_outage_is_waited_out(log: Log) -> None:
    asked = 0

    async def moody(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        if asked % 3:
            return web.Response(status=503)
        return await Files({FIRST: killmail(1), FIRST + 1: killmail(2)}).file(request)

    async with upstream({"/ephemeral/{name}.json": moody}) as url:
        await poll_until(lambda: log.durable == {1, 2}, settings_for(url), log)


async def test_it_goes_on_behind_its_cursor(log: Log) -> None:
    files = Files({FIRST + n: killmail(n) for n in range(10)})
    async with files.served() as url:
        settings = settings_for(url)
        await record_positions(log.database, r2z2_name(settings), FIRST + 4)
        await poll_until(lambda: 9 in log.durable, settings, log)
    assert log.durable == {5, 6, 7, 8, 9}


async def test_without_a_cursor_it_starts_at_the_tip(log: Log) -> None:
    files = Files({FIRST + n: killmail(n) for n in range(10)}, newest=FIRST + 7)
    async with files.served() as url:
        await poll_until(lambda: 9 in log.durable, settings_for(url), log)
    assert log.durable == {7, 8, 9}


async def test_a_cursor_of_another_feed_is_left(log: Log) -> None:
    files = Files({FIRST + n: killmail(n) for n in range(5)}, newest=FIRST + 3)
    async with files.served() as url:
        settings = settings_for(url)
        await record_positions(log.database, r2z2_name(settings), 96_000_000)
        files.files = {FIRST + n: killmail(n, age_s=-1.0) for n in range(5)}
        await poll_until(lambda: 4 in log.durable, settings, log)
        assert await read_cursor(log.database, r2z2_name(settings)) == FIRST + 4


async def test_a_feed_that_starts_anew_is_followed(log: Log) -> None:
    files = Files({96_000_000: killmail(1)})
    async with files.served() as url:
        await poll_until(lambda: 1 in log.durable, settings_for(url), log)
        files.files = {FIRST: killmail(2, age_s=-1.0)}
        await poll_until(lambda: 2 in log.durable, settings_for(url), log)


@pytest.mark.parametrize("gone", [30, 500, 3000])
async def test_expired_files_are_jumped_over_and_no_more(log: Log, gone: int) -> None:
    left = range(FIRST + gone, FIRST + gone + 40)
    files = Files({n: killmail(n, DAY_S - 60) for n in left}, newest=FIRST + gone + 39)
    async with files.served() as url:
        settings = settings_for(url)
        await record_positions(log.database, r2z2_name(settings), FIRST - 1)
        await set_back(log.database, DAY_S + 60)
        await poll_until(lambda: left[-1] in log.durable, settings, log)
    assert log.durable == set(left)
    assert await gaps(log.database) == [(FIRST, FIRST + gone - 1, "expired")]
    assert await ledger(log.database) == []
    assert files.asked < 40 + 25 + 200 + 5 * 15


async def test_a_late_file_is_found(log: Log) -> None:
    files = Files({FIRST: killmail(1), FIRST + 2: killmail(3)}, newest=FIRST)

    def file_comes_late() -> bool:
        if log.durable == {1, 3}:
            files.files[FIRST + 1] = killmail(2)
        return log.durable == {1, 2, 3}

    async with files.served() as url:
        counts = await poll_until(file_comes_late, settings_for(url), log)
        name = r2z2_name(settings_for(url))
        assert await read_cursor(log.database, name) == FIRST + 2
    assert counts.skipped["hole"] == 1


HTML = b"<!DOCTYPE html><h1>One moment, please</h1>"


async def test_a_file_that_stays_unreadable_is_refused(log: Log) -> None:
    files = Files({FIRST: killmail(1), FIRST + 1: HTML, FIRST + 2: killmail(3)})
    async with files.served() as url:
        await poll_until(lambda: bool(log.refused), settings_for(url), log, acked=True)
    assert log.durable == {1, 3}
    (refused,) = log.refused
    assert (refused.position, refused.value) == (FIRST + 1, HTML)
    assert "HTML" in refused.reason


async def test_a_file_that_becomes_readable_is_read(log: Log) -> None:
    files = Files({FIRST: killmail(1), FIRST + 1: killmail(2)[:-9], FIRST + 2: killmail(3)})

    def file_is_whole() -> bool:
        if log.durable == {1, 3}:
            files.files[FIRST + 1] = killmail(2)
        return log.durable == {1, 2, 3}

    async with files.served() as url:
        await poll_until(file_is_whole, settings_for(url), log)
    assert not log.refused


async def test_html_everywhere_moves_nothing(log: Log) -> None:
    real = {FIRST + n: killmail(n) for n in range(12)}
    files = Files(dict(real), newest=FIRST + 11)
    async with files.served() as url:
        settings = settings_for(url)
        await record_positions(log.database, r2z2_name(settings), FIRST - 1)
        files.always = HTML
        taken: list[int] = []

        def end() -> None:
            taken.append(len(log.taken))
            files.always = None

        files.at_request(60, end)
        await poll_until(lambda: log.durable == set(range(12)), settings, log)
    assert taken == [0]
    assert [reference.killmail_id for reference in log.taken] == list(range(12))
    assert not log.refused


@pytest.mark.parametrize(
    "value", [b"[]", b"{}", b'{"killmail_id":5,"hash":"short"}', b'{"killmail_id":"5"}', b"7"]
)
async def test_a_malformed_file_is_refused_at_once(log: Log, value: bytes) -> None:
    files = Files({FIRST: killmail(1), FIRST + 1: value, FIRST + 2: killmail(3)})
    async with files.served() as url:
        await poll_until(lambda: 3 in log.durable, settings_for(url), log)
    assert [(refused.position, refused.value) for refused in log.refused] == [(FIRST + 1, value)]


async def test_a_file_above_the_limit_is_refused_in_part(log: Log) -> None:
    huge = b'{"killmail_id":5,"zkb":"%s"}' % (b"x" * 9_000_000)
    files = Files({FIRST: killmail(1), FIRST + 1: huge, FIRST + 2: killmail(3)})
    async with files.served() as url:
        await poll_until(lambda: 3 in log.durable, settings_for(url), log)
    (refused,) = log.refused
    assert "limit" in refused.reason
    assert huge.startswith(refused.value)
    assert len(refused.value) == 1024 * 1024


async def test_without_a_contact_it_says_so(log: Log) -> None:
    settings = Settings(r2z2_url="https://r2z2.example.org", contact="")
    with pytest.raises(Misconfigured, match="KILLSTREAM_CONTACT"):
        await poll_until(lambda: False, settings, log)
