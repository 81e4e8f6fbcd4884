"""Names: on both databases, asked of ESI once, remembered, and never at the cost of its limits."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from actors.esi import client as esi_module
from actors.esi.budget import BUCKETLESS
from actors.esi.slots import CONCURRENCY
from actors.names import cache as cache_module
from actors.names import resolve as resolve_module
from actors.names import search as search_module
from actors.names.cache import Known, NameCache
from actors.names.ids import kind_of, max_age
from actors.names.resolve import NEVER_S, known_names, resolve_names
from actors.resources import Resources
from actors.shared.errors import RetryLater
from actors.shared.settings import Settings
from actors.shared.tables import NAMES
from deploy.standin.server import Standin
from tests.support.esi import opened_resources, run, sent, set_faults, standin
from tests.support.servers import fresh_database

LONG_MS = 20_000
CHARACTERS = range(95_000_000, 95_000_300)


@pytest.fixture(autouse=True)
def _empty_queue() -> Iterator[None]:
    yield
    sent("esi")


@pytest.fixture
async def upstream() -> AsyncIterator[Standin]:
    async with standin(1) as started:
        yield started


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
async def settings(
    request: pytest.FixtureRequest, upstream: Standin, tmp_path: Path
) -> AsyncIterator[Settings]:
    chosen = Settings(esi_url=upstream.url, data_dir=tmp_path)
    if request.param == "sqlite":
        yield chosen
    else:
        async with fresh_database() as database_url:
            yield chosen.model_copy(update={"database_url": database_url})


@pytest.fixture
async def opened(settings: Settings) -> AsyncIterator[Resources]:
    async with opened_resources(settings) as resources:
        yield resources


def expected(upstream: Standin, ids: range) -> dict[int, str]:
    found = {id_: upstream.playback.names.find(id_) for id_ in ids}
    return {id_: name.name for id_, name in found.items() if name}


def asked(upstream: Standin, status: int = 200) -> int:
    return upstream.playback.stats.requests["esi", "names", status]


async def stored(opened: Resources) -> dict[int, tuple[str | None, str | None]]:
    async with opened.database.connect() as connection:
        rows = await connection.execute(select(NAMES))
        return {row.id: (row.name, row.category) for row in rows}


async def test_asks_esi_once_and_remembers(opened: Resources, upstream: Standin) -> None:
    names = expected(upstream, CHARACTERS)
    assert len(names) == len(CHARACTERS)
    assert await known_names(CHARACTERS, LONG_MS) == names
    assert await known_names(CHARACTERS, 0) == names
    assert asked(upstream) == 1
    assert await stored(opened) == {id_: (name, "character") for id_, name in names.items()}


async def test_another_process_takes_them_from_the_table(
    settings: Settings, upstream: Standin
) -> None:
    for _ in range(2):
        async with opened_resources(settings):
            assert await known_names(CHARACTERS, LONG_MS) == expected(upstream, CHARACTERS)
    assert asked(upstream) == 1


async def test_concurrent_batches_ask_for_an_id_once(opened: Resources, upstream: Standin) -> None:
    set_faults(upstream, esi_latency_ms=100)
    halves = [CHARACTERS[:200], CHARACTERS[100:], CHARACTERS]
    found = await asyncio.gather(*(known_names(ids, LONG_MS) for ids in halves))
    assert found == [expected(upstream, ids) for ids in halves]
    assert asked(upstream) == 2  # the first 200, and the 100 that weren't among them


async def test_more_than_esi_takes_at_once(opened: Resources, upstream: Standin) -> None:
    many = range(95_000_000, 95_002_500)
    assert await known_names(many, LONG_MS) == expected(upstream, many)
    assert asked(upstream) == 3


async def test_unknown_ids_are_found_out_and_remembered(
    opened: Resources, upstream: Standin
) -> None:
    unknown = {CHARACTERS[17], CHARACTERS[200]}
    set_faults(upstream, unknown_ids=tuple(unknown))
    names = expected(upstream, CHARACTERS)
    known = {id_: name for id_, name in names.items() if id_ not in unknown}
    assert await known_names(CHARACTERS, LONG_MS) == known
    refused = asked(upstream, 404)
    assert 0 < refused <= 20
    assert {id_ for id_, (name, _) in (await stored(opened)).items() if name is None} == unknown

    opened.names.known.clear()  # as after a restart
    assert await known_names(CHARACTERS, LONG_MS) == known
    assert asked(upstream, 404) == refused
    assert sent("esi") == []


async def test_unknown_ids_are_asked_for_again_after_a_day(
    opened: Resources, upstream: Standin
) -> None:
    ids = CHARACTERS[:2]
    await known_names(CHARACTERS[2:4], LONG_MS)
    set_faults(upstream, unknown_ids=tuple(ids))
    assert await known_names(ids, LONG_MS) == {}
    assert {(await stored(opened))[id_] for id_ in ids} == {(None, None)}
    async with opened.database.begin() as connection:
        yesterday = datetime.now(UTC) - timedelta(days=1, seconds=1)
        await connection.execute(update(NAMES).values(checked_at=yesterday))
    opened.names.known.clear()
    set_faults(upstream)
    assert await known_names(ids, LONG_MS) == expected(upstream, ids)


async def test_a_name_that_another_process_found_meanwhile_stays(
    opened: Resources, upstream: Standin
) -> None:
    await known_names([95_000_001], LONG_MS)
    set_faults(upstream, unknown_ids=(95_000_000,), esi_latency_ms=300)
    asking = asyncio.create_task(known_names([95_000_000], LONG_MS))
    async with asyncio.timeout(10):
        while True:
            await asyncio.sleep(0.01)
            if asked(upstream, 404):
                break
    row = {"id": 95_000_000, "name": "Somebody", "category": "character"}
    async with opened.database.begin() as connection:
        await connection.execute(insert(NAMES), [{**row, "checked_at": datetime.now(UTC)}])
    assert await asking == {95_000_000: "Somebody"}
    assert (await stored(opened))[95_000_000] == ("Somebody", "character")


async def test_ids_outside_of_eves_ranges_are_never_asked(
    opened: Resources, upstream: Standin
) -> None:
    strange = [0, -5, 700_000, 40_000_001, 50_000_001, 1_035_466_617_946, 2**63 - 1]
    assert await known_names([*strange, 30_000_142], LONG_MS) == expected(
        upstream, range(30_000_142, 30_000_143)
    )
    assert asked(upstream, 404) == 0
    assert asked(upstream) == 1


async def test_the_search_for_unknown_ids_spares_the_error_budget(
    opened: Resources, upstream: Standin
) -> None:
    set_faults(upstream, unknown_ids=tuple(CHARACTERS))
    assert await known_names(CHARACTERS, LONG_MS) == {}
    left = 100 - asked(upstream, 404)
    assert left >= esi_module.MIN_ERRORS_LEFT - CONCURRENCY[BUCKETLESS]
    assert left <= esi_module.MIN_ERRORS_LEFT
    with pytest.raises(RetryLater):
        await run(resolve_names, list(CHARACTERS))
    assert 100 - asked(upstream, 404) == left


async def test_names_refused_for_a_minute(opened: Resources, upstream: Standin) -> None:
    """All that holds a character or a corporation is refused, at the first start of all."""
    ids = [2199000001, 98990001, 99990001, 2199000002, 98990002, 1000125, 500021, 587, 30002187]
    refused = {2199000001, 98990001, 2199000002, 98990002, 1000125}
    set_faults(upstream, names_refused=True)
    found = await known_names(ids, LONG_MS)
    assert found.keys() == set(ids) - refused
    assert refused.isdisjoint(await stored(opened))
    (message,) = sent("esi")
    assert set(message.args[0]) == refused
    assert message.options["eta"] - message.message_timestamp <= 60_000
    with pytest.raises(RetryLater) as wait:
        await run(resolve_names, *message.args)
    assert wait.value.delay_ms <= 120_000
    assert sent("esi") == []

    set_faults(upstream)
    await run(resolve_names, *message.args)
    assert (await known_names(ids, 0)).keys() == set(ids)  # in new pushes
    assert all(name for name, _ in (await stored(opened)).values())  # and in queries
    assert len(await stored(opened)) == len(ids)


async def test_when_known_names_are_refused_everybody_pauses(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "REFUSED_PAUSE_MS", 200)
    await known_names(CHARACTERS[:5], LONG_MS)
    set_faults(upstream, names_refused=True)
    assert await known_names(CHARACTERS, LONG_MS) == expected(upstream, CHARACTERS[:5])
    assert asked(upstream, 404) == 2  # the names themselves, and one that is known
    await known_names([95_500_000], LONG_MS)
    assert asked(upstream, 404) == 2
    assert len(await stored(opened)) == 5
    set_faults(upstream)
    await until_resolved(list(CHARACTERS))
    assert await known_names(CHARACTERS, 0) == expected(upstream, CHARACTERS)


async def age(opened: Resources, by: timedelta) -> None:
    """Let all names be as old as this, and nothing be known in the process."""
    async with opened.database.begin() as connection:
        await connection.execute(update(NAMES).values(checked_at=datetime.now(UTC) - by))
    opened.names.known.clear()


async def test_renamed_pilot(opened: Resources, upstream: Standin) -> None:
    pilot = 2199000001
    set_faults(upstream, renamed={pilot: "Old Name"})
    assert await known_names([pilot], LONG_MS) == {pilot: "Old Name"}
    await age(opened, timedelta(days=335))
    set_faults(upstream, renamed={pilot: "New Name"})
    assert await known_names([pilot], LONG_MS) == {pilot: "New Name"}
    assert await stored(opened) == {pilot: ("New Name", "character")}
    assert await known_names([pilot], LONG_MS) == {pilot: "New Name"}
    assert asked(upstream) == 2


async def test_a_name_grows_old_in_a_process_that_goes_on(
    opened: Resources, upstream: Standin
) -> None:
    pilot = 2199000001
    await known_names([pilot], LONG_MS)
    known = opened.names.known[pilot]
    assert timedelta(days=6.9) < timedelta(seconds=known.ask_at - time.time()) < timedelta(days=7)
    set_faults(upstream, renamed={pilot: "New Name"}, esi_latency_ms=200)
    await age(opened, timedelta(days=8))
    opened.names.learn({pilot: known._replace(ask_at=0.0)})
    assert await known_names([pilot], 1) == {pilot: known.name}  # ESI is slow: the old one
    await asyncio.gather(*opened.names.in_flight.values())
    assert await known_names([pilot], 0) == {pilot: "New Name"}
    assert sent("esi") == []


async def test_systems_and_young_names_are_not_asked_for_again(
    opened: Resources, upstream: Standin
) -> None:
    ids = [30_000_142, 587, *CHARACTERS[:3]]
    names = await known_names(ids, LONG_MS)
    await age(opened, timedelta(days=6.5))
    assert await known_names(ids, LONG_MS) == names
    await age(opened, timedelta(days=80))
    assert await known_names(ids[:2], LONG_MS) == {id_: names[id_] for id_ in ids[:2]}
    assert asked(upstream) == 1


async def test_old_names_stay_when_esi_is_away_and_cost_no_message(
    opened: Resources, upstream: Standin
) -> None:
    names = await known_names(CHARACTERS, LONG_MS)
    await age(opened, timedelta(days=30))
    set_faults(upstream, esi_error_rate=1.0, esi_error_status=500)
    assert await known_names(CHARACTERS, LONG_MS) == names
    failures = asked(upstream, 500)
    assert await known_names(CHARACTERS, LONG_MS) == names
    assert asked(upstream, 500) == failures  # not again before a while is over
    assert sent("esi") == []


async def test_old_names_cost_little_of_the_error_budget(
    opened: Resources, upstream: Standin
) -> None:
    names = await known_names(CHARACTERS, LONG_MS)
    await age(opened, timedelta(days=30))
    set_faults(upstream, unknown_ids=tuple(CHARACTERS[::3]))
    assert await known_names(CHARACTERS, LONG_MS) == names
    assert 0 < asked(upstream, 404) <= resolve_module.REFRESH_MAX_REFUSALS + 1
    opened.esi._errors_left = resolve_module.REFRESH_ERRORS_LEFT - 1
    opened.names.known.clear()
    before = asked(upstream, 404)
    assert await known_names(CHARACTERS, LONG_MS) == names
    assert asked(upstream, 404) == before


async def test_a_pilot_whom_esi_does_not_name_any_more_keeps_the_name(
    opened: Resources, upstream: Standin
) -> None:
    names = await known_names(CHARACTERS, LONG_MS)
    await age(opened, timedelta(days=30))
    set_faults(upstream, unknown_ids=(CHARACTERS[7],), renamed={CHARACTERS[8]: "New Name"})
    found = await known_names(CHARACTERS, LONG_MS)
    assert found == names | {CHARACTERS[8]: "New Name"}
    assert opened.names.due(CHARACTERS) == []


async def test_what_is_late_comes_by_itself_and_a_message_makes_sure(
    opened: Resources, upstream: Standin
) -> None:
    set_faults(upstream, esi_latency_ms=200)
    assert await known_names(CHARACTERS, 1) == {}
    assert await known_names(CHARACTERS, 1) == {}  # deferred already: no second message
    (message,) = sent("esi")
    assert message.actor_name == "resolve_names"
    assert message.args[0] == list(CHARACTERS)
    await asyncio.gather(*set(opened.names.in_flight.values()))
    assert await known_names(CHARACTERS, 0) == expected(upstream, CHARACTERS)
    await run(resolve_names, *message.args)
    assert asked(upstream) == 1


async def test_outage_costs_no_more_than_the_deadline_and_the_message_resolves(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(esi_module, "STATUS_S", 0.1)
    set_faults(upstream, esi_error_rate=1.0, esi_error_status=500)
    assert await known_names(CHARACTERS, LONG_MS) == {}
    failures = asked(upstream, 500)
    assert await known_names(CHARACTERS, LONG_MS) == {}  # the message has them: not asked again
    assert asked(upstream, 500) == failures
    (message,) = sent("esi")
    with pytest.raises(RetryLater):
        await run(resolve_names, *message.args)
    set_faults(upstream)
    await until_resolved(message.args[0])
    assert await known_names(CHARACTERS, 0) == expected(upstream, CHARACTERS)


async def until_resolved(ids: list[int]) -> None:
    """Run the message until the client's pause is over."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await run(resolve_names, ids)
            except RetryLater:
                await asyncio.sleep(0.05)


async def test_nothing_is_being_asked_after_the_end(settings: Settings, upstream: Standin) -> None:
    set_faults(upstream, esi_latency_ms=60_000)
    async with opened_resources(settings) as opened:
        await known_names(CHARACTERS, 1)
        assert opened.names.in_flight
    assert not opened.names.in_flight


def test_the_cache_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "MAX_KNOWN", 100)
    cache = NameCache()
    for id_ in range(1000):
        cache.learn({id_: Known(str(id_), NEVER_S)})
    assert len(cache.known) <= 100
    assert cache.names([999]) == {999: "999"}


def test_the_cache_knows_what_is_due() -> None:
    cache = NameCache()
    cache.learn({1: Known(None, 0.0), 2: Known("old", 0.0), 3: Known("new", NEVER_S)})
    cache.learn({4: Known(None, NEVER_S)})
    assert cache.due([1, 2, 3, 4, 5]) == [1, 2, 5]
    assert cache.unknown([1, 2, 3, 4, 5]) == [1, 5]
    assert cache.names([1, 2, 3, 4, 5]) == {2: "old", 3: "new"}
    cache.postpone([1, 2, 5], 60)
    assert cache.due([2]) == []


def test_kinds_and_ages() -> None:
    assert [kind_of(id_) for id_ in (587, 98_000_001, 2_199_000_001, 500_000_000)] == [
        "type",
        "corporation",
        "character",
        "player",
    ]
    assert {kind_of(id_) for id_ in (0, -5, 700_000, 50_000_001, 2**63 - 1)} == {None}
    assert max_age(2_199_000_001, "x") == timedelta(days=7)
    assert max_age(30_000_142, "x") == timedelta(days=90)
    assert max_age(2_199_000_001, None) == timedelta(days=1)
