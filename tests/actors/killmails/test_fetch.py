"""Fetching: each reference ends at `persist`, at `reject`, or comes again; none is lost."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import update

from actors.esi import client as esi_module
from actors.killmails import fetch as fetch_module
from actors.killmails.fetch import fetch
from actors.killmails.persist import read, store
from actors.resources import Resources
from actors.shared.reference import Reference, decode_reference, encode_reference
from actors.shared.rejection import decode_rejection
from actors.shared.settings import Settings
from actors.shared.tables import LEDGER
from deploy.standin.killmails import UpstreamKillmail
from deploy.standin.server import Standin
from tests.support.esi import opened_resources, run, sent, set_faults, standin
from tests.support.tables import receive, rows


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(esi_module, "FAILURE_PAUSE_MS", (50, 100))


@pytest.fixture(autouse=True)
def _empty_queues() -> Iterator[None]:
    yield
    for queue in ("database", "esi"):
        sent(queue)


@pytest.fixture
async def upstream() -> AsyncIterator[Standin]:
    async with standin(200) as started:
        yield started


@pytest.fixture
async def opened(upstream: Standin, tmp_path: Path) -> AsyncIterator[Resources]:
    settings = Settings(esi_url=upstream.url, data_dir=tmp_path, esi_killmail_tokens=0)
    async with opened_resources(settings) as resources:
        yield resources


def a_reference(played: UpstreamKillmail, position: int = 0, **changes: Any) -> Reference:
    reference = Reference(
        source="redisq:test/queue",
        position=position,
        as_of=1_700_000_000.0,
        killmail_id=played.killmail_id,
        hash=played.killmail_hash,
        zkb=msgspec.Raw(played.zkb),
    )
    return msgspec.structs.replace(reference, **changes)


def encoded(references: Iterable[Reference]) -> list[bytes]:
    return [encode_reference(reference) for reference in references]


def handed_on() -> list[Reference]:
    """Take the references that were sent to `persist`."""
    messages = sent("database")
    assert {message.actor_name for message in messages} <= {"persist"}
    return [decode_reference(value) for message in messages for value in message.args[0]]


async def test_hands_on_each_reference_with_the_exact_body(
    opened: Resources, upstream: Standin
) -> None:
    wanted = [a_reference(played, i) for i, played in enumerate(upstream.dataset.killmails)]
    await run(fetch, encoded(wanted))
    whole = [
        a_reference(played, i, body=msgspec.Raw(played.body))
        for i, played in enumerate(upstream.dataset.killmails)
    ]
    assert encoded(handed_on()) == encoded(whole)
    assert sent("esi") == []


async def test_two_places_of_one_killmail_are_fetched_once_and_both_handed_on(
    opened: Resources, upstream: Standin
) -> None:
    played = upstream.dataset.killmails[0]
    await run(fetch, encoded([a_reference(played, 1), a_reference(played, 2)]))
    assert [(r.position, bytes(r.body)) for r in handed_on()] == [
        (1, played.body),
        (2, played.body),
    ]
    assert upstream.playback.stats.requests["esi", "killmail", 200] == 1


async def test_stored_bodies_are_not_asked_for_again(opened: Resources, upstream: Standin) -> None:
    stored, new = list(upstream.dataset.killmails)[:2]
    whole = a_reference(stored, body=msgspec.Raw(stored.body))
    await store(opened.database, read(encoded([whole]))[0])
    await run(fetch, encoded([a_reference(stored, 1), a_reference(new, 2)]))
    assert [bytes(r.body) for r in handed_on()] == [stored.body, new.body]
    assert upstream.playback.stats.requests["esi", "killmail", 200] == 1


async def test_a_hash_that_differs_from_the_stored_one_is_asked_for(
    opened: Resources, upstream: Standin
) -> None:
    stored = upstream.dataset.killmails[0]
    whole = a_reference(stored, body=msgspec.Raw(stored.body))
    await store(opened.database, read(encoded([whole]))[0])
    await run(fetch, encoded([a_reference(stored, hash="0" * 40)]))
    assert upstream.playback.stats.requests["esi", "killmail", 422] == 1


@pytest.mark.parametrize("kind", ["422", "404", "html", "empty", "cut"])
async def test_wrong_answers_for_two_minutes_lose_and_reject_nothing(
    opened: Resources, upstream: Standin, kind: str
) -> None:
    wanted = [a_reference(played, i) for i, played in enumerate(upstream.dataset.killmails)]
    set_faults(upstream, esi_wrong=(kind,), limits=False)
    await run(fetch, encoded(wanted))
    for _ in range(2):  # the third ask comes after two minutes at the earliest
        assert sent("database") == []
        messages = sent("esi")
        assert sorted(v for m in messages for v in m.args[0]) == sorted(encoded(wanted))
        assert all(m.options["eta"] - m.message_timestamp <= 5 * 60_000 for m in messages)
        for message in messages:
            await run(fetch, *message.args)
    set_faults(upstream, limits=False)
    got: set[int] = set()
    while messages := sent("esi"):
        for message in messages:
            await run(fetch, *message.args)
        got |= {r.killmail_id for r in handed_on()}
        await asyncio.sleep(0.1)  # the client's pause
    assert got == {r.killmail_id for r in wanted}


async def test_the_reported_case(opened: Resources, upstream: Standin) -> None:
    """Two killmails, given once; ESI says 422 of one and HTML for the other, then is well."""
    refused, garbled = (
        a_reference(played, i + 1) for i, played in enumerate(upstream.dataset.killmails) if i < 2
    )
    await receive(opened.database, refused.source, [1, 2])
    set_faults(upstream, esi_killmail_status={refused.killmail_id: 422})
    await run(fetch, encoded([refused]))
    set_faults(upstream, esi_wrong=("html",))
    await run(fetch, encoded([garbled]))
    set_faults(upstream)
    assert sent("database") == []
    entries = await rows(opened.database, LEDGER)
    assert [(entry["position"], entry["refusals"]) for entry in entries] == [(1, 1), (2, 0)]
    for message in sent("esi"):
        await run(fetch, *message.args)
    assert [r.position for r in handed_on()] == [1, 2]


@pytest.mark.parametrize("status", [403, 404, 410, 422])
async def test_a_refusal_is_believed_after_hours(
    opened: Resources, upstream: Standin, status: int
) -> None:
    good, bad = list(upstream.dataset.killmails)[:2]
    reference = a_reference(bad, 8)
    await receive(opened.database, reference.source, [7, 8])
    set_faults(upstream, esi_killmail_status={bad.killmail_id: status}, limits=False)
    await run(fetch, encoded([a_reference(good, 7), reference]))
    assert [r.killmail_id for r in handed_on()] == [good.killmail_id]

    waits_s = []
    for asked in range(1, 9):
        entry = (await rows(opened.database, LEDGER))[-1]
        assert (entry["position"], entry["refusals"]) == (8, asked)
        waits_s.append(int((entry["next_try_at"] - datetime.now(UTC)).total_seconds()) + 1)
        delayed = sent("esi")
        assert [list(m.args) for m in delayed] == (
            [[[encode_reference(reference)], 0, None]] * (asked < 4)
        )
        assert sent("database") == []
        if asked == 8:
            await since_hours(opened, 6)
        await run(fetch, encoded([reference]))
    assert waits_s[:3] == [16 * 60, 17 * 60, 20 * 60]  # behind the delayed message
    assert waits_s[3:] == [15 * 60, 30 * 60, 60 * 60, 120 * 60, 180 * 60]
    assert sent("esi") == []
    (rejected,) = sent("database")
    assert rejected.actor_name == "reject"
    (rejection,) = map(decode_rejection, rejected.args[0])
    assert f"ESI answers {status}" in rejection.reason
    assert (rejection.source, rejection.position, rejection.killmail_id) == (
        "redisq:test/queue",
        8,
        bad.killmail_id,
    )
    assert rejection.value.encode() == encode_reference(reference)


async def since_hours(opened: Resources, hours: int) -> None:
    """Let the first refusal of all entries lie so far back."""
    async with opened.database.begin() as connection:
        past = datetime.now(UTC) - timedelta(hours=hours)
        await connection.execute(update(LEDGER).values(refused_at=past))


async def test_few_refusals_are_not_believed_however_old(
    opened: Resources, upstream: Standin
) -> None:
    reference = a_reference(upstream.dataset.killmails[0], 8, hash="0" * 40)
    for _ in range(5):
        await run(fetch, encoded([reference]))
        await since_hours(opened, 48)
    assert {message.actor_name for message in sent("database")} == set()


async def test_an_entry_that_left_the_ledger_is_written_again_whole(
    opened: Resources, upstream: Standin
) -> None:
    reference = a_reference(upstream.dataset.killmails[0], 8, hash="0" * 40)
    await run(fetch, encoded([reference]))
    (entry,) = await rows(opened.database, LEDGER)
    assert entry["reference"] == encode_reference(reference)
    assert (entry["kind"], entry["killmail_id"]) == ("received", reference.killmail_id)


async def test_a_stored_killmail_counts_where_esi_refuses_the_hash(
    opened: Resources, upstream: Standin
) -> None:
    stored = upstream.dataset.killmails[0]
    whole = a_reference(stored, body=msgspec.Raw(stored.body))
    await store(opened.database, read(encoded([whole]))[0])
    await run(fetch, encoded([a_reference(stored, 9, hash="0" * 40)]))
    assert [(r.position, bytes(r.body)) for r in handed_on()] == [(9, stored.body)]
    assert await rows(opened.database, LEDGER) == []


async def test_one_killmail_with_an_odd_status_holds_up_no_other(
    opened: Resources, upstream: Standin
) -> None:
    wanted = [a_reference(played, i) for i, played in enumerate(upstream.dataset.killmails)]
    set_faults(upstream, esi_killmail_status={wanted[3].killmail_id: 403}, limits=False)
    await run(fetch, encoded(wanted))
    assert len(handed_on()) == len(wanted) - 1
    (again,) = sent("esi")
    assert again.args[0] == encoded([wanted[3]])


async def test_what_is_no_reference_is_rejected_and_the_rest_goes_on(
    opened: Resources, upstream: Standin
) -> None:
    played = upstream.dataset.killmails[0]
    await run(fetch, [b"{}", *encoded([a_reference(played)])])
    to_persist, to_reject = sent("database")
    assert (to_persist.actor_name, to_reject.actor_name) == ("persist", "reject")
    assert decode_rejection(to_reject.args[0][0]).value == "{}"


@pytest.mark.parametrize("given", ['"hash":"",', '"hash":"none",', ""])
async def test_without_a_body_and_a_usable_hash_it_is_rejected_with_its_place(
    opened: Resources, upstream: Standin, given: str
) -> None:
    value = b'{"source":"redisq:test/queue","position":8,"as_of":1.0,%b"killmail_id":1}'
    await run(fetch, [value % given.encode()])
    (message,) = sent("database")
    assert message.actor_name == "reject"
    rejection = decode_rejection(message.args[0][0])
    assert "no hash" in rejection.reason
    assert (rejection.source, rejection.position) == ("redisq:test/queue", 8)
    assert upstream.playback.stats.requests.total() == 0


async def test_what_has_its_body_is_handed_on(opened: Resources, upstream: Standin) -> None:
    played = upstream.dataset.killmails[0]
    whole = a_reference(played, 8, hash="", body=msgspec.Raw(played.body))
    await run(fetch, encoded([whole]))
    assert encoded(handed_on()) == encoded([whole])
    assert upstream.playback.stats.requests.total() == 0


async def test_an_outage_puts_off_what_failed_and_never_rejects(
    opened: Resources, upstream: Standin
) -> None:
    wanted = encoded(a_reference(played, i) for i, played in enumerate(upstream.dataset.killmails))
    set_faults(upstream, esi_error_rate=1.0, esi_error_status=500)
    await run(fetch, wanted)
    delays_s = []
    for tries in range(1, 5):
        (again,) = sent("esi")
        assert sorted(again.args[0]) == sorted(wanted)
        assert again.args[1] == tries
        delays_s.append((again.options["eta"] - again.message_timestamp) / 1000)
        await run(fetch, *again.args)
    assert all(min(30 * 2**n, 200) <= s <= min(45 * 2**n, 300) for n, s in enumerate(delays_s))
    assert sent("database") == sent("esi") == []  # now the ledger has them
    entries = await rows(opened.database, LEDGER)
    assert sorted(entry["reference"] for entry in entries) == sorted(wanted)
    due_in = {entry["next_try_at"] - datetime.now(UTC) for entry in entries}
    assert timedelta(minutes=9) < min(due_in) <= max(due_in) < timedelta(minutes=16)


async def test_what_syncs_bring_waits_behind_the_live_feed(
    opened: Resources, upstream: Standin
) -> None:
    one, other = upstream.dataset.killmails[0], upstream.dataset.killmails[1]
    await run(fetch, encoded([a_reference(one, source="esi:character/1")]))
    await run(fetch, encoded([a_reference(one, source="esi:character/1"), a_reference(other)]))
    by_sync, with_live = sent("database")
    assert by_sync.options["broker_priority"] < with_live.options["broker_priority"]


async def test_a_refusal_of_a_sync_keeps_its_class_of_the_budget(
    opened: Resources, upstream: Standin
) -> None:
    wrong = a_reference(upstream.dataset.killmails[0], hash="0" * 40)
    await run(fetch, encoded([wrong]), 0, 2)
    (again,) = sent("esi")
    assert again.args[2] == 2


async def test_nothing_is_lost_when_a_third_of_the_answers_is_502(
    opened: Resources, upstream: Standin
) -> None:
    wanted = encoded(a_reference(played, i) for i, played in enumerate(upstream.dataset.killmails))
    set_faults(upstream, esi_error_rate=0.33)
    await run(fetch, wanted)
    got = {r.killmail_id for r in handed_on()}
    while messages := sent("esi"):
        for message in messages:
            await run(fetch, message.args[0])
        got |= {r.killmail_id for r in handed_on()}
        await asyncio.sleep(0.1)  # the client's pause
    assert got == {played.killmail_id for played in upstream.dataset.killmails}


async def test_what_the_budget_does_not_allow_now_comes_again_in_time(tmp_path: Path) -> None:
    async with standin(30, esi_tokens=40) as upstream:
        settings = Settings(esi_url=upstream.url, data_dir=tmp_path, esi_killmail_tokens=40)
        async with opened_resources(settings):
            wanted = [a_reference(played, i) for i, played in enumerate(upstream.dataset.killmails)]
            await run(fetch, encoded(wanted))
        got = {r.killmail_id for r in handed_on()}
        (again,) = sent("esi")
        later = {decode_reference(value).killmail_id for value in again.args[0]}
        delay_ms = again.options["eta"] - again.message_timestamp
        assert len(got) == 18  # 36 tokens spent; what is left wouldn't pay for an error
        assert got | later == {r.killmail_id for r in wanted}
        assert not got & later
        assert 200_000 <= delay_ms <= fetch_module.MAX_DELAY_MS
        assert upstream.control.counted()["esi"]["refused"] == 0


async def test_messages_to_persist_stay_below_their_size(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_module, "MESSAGE_BYTES", 20_000)
    wanted = [a_reference(played, i) for i, played in enumerate(upstream.dataset.killmails)]
    await run(fetch, encoded(wanted))
    messages = sent("database")
    assert len(messages) > 1
    assert sum(len(message.args[0]) for message in messages) == len(wanted)
