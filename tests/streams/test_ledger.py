import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.ack import ack
from actors.shared.reference import decode_reference
from actors.shared.tables import CURSORS
from streams.ledger import (
    Fence,
    Fenced,
    Progress,
    check_fence,
    due_entries,
    next_due_at,
    read_cursor,
    recall_all,
    record,
    record_tries,
    take_over,
)
from streams.sources.step import UNALLOTTED, Gap, LedgerEntry, Pending, Refused, Step
from tests.support.ledger import (
    HASH,
    PATIENCE,
    change_ledger,
    gaps,
    ledger,
    record_positions,
    reference,
)

HOST, OTHER = "r2z2:host", "redisq:host/queue"
DAY = timedelta(days=1)


async def tried(database: AsyncEngine, fence: Fence, limit: int = 99) -> list[LedgerEntry]:
    """Take what is due, each to be due again in an hour."""
    entries = await due_entries(database, fence.source, limit=limit)
    again_at = datetime.now(UTC) + timedelta(hours=1)
    await record_tries(database, fence, dict.fromkeys(entries, again_at))
    return entries


async def test_a_source_that_was_never_read_has_no_cursor(database: AsyncEngine) -> None:
    assert await read_cursor(database, HOST) is None
    fence, cursor = await take_over(database, HOST)
    assert cursor.position is None
    assert await next_due_at(database, HOST) is None
    assert await tried(database, fence) == []


async def test_what_was_received_is_recorded_with_id_and_hash(database: AsyncEngine) -> None:
    await record_positions(database, HOST, 12, received=[11, 12], holes=[10])
    await record_positions(database, OTHER, 2, received=[1])
    assert await read_cursor(database, HOST) == 12
    columns = ("source", "position", "kind", "killmail_id", "killmail_hash", "reference", "tries")
    assert await ledger(database, *columns) == [
        (OTHER, 1, "received", 1, HASH, None, 0),
        (HOST, 10, "hole", None, None, None, 0),
        (HOST, 11, "received", 11, HASH, None, 0),
        (HOST, 12, "received", 12, HASH, None, 0),
    ]


async def test_recording_again_changes_nothing(database: AsyncEngine) -> None:
    fence, _ = await take_over(database, HOST)
    step = Step(7, references=(reference(HOST, 7),))
    await record(database, fence, [step], patience=PATIENCE)
    before = await ledger(database)
    await record(database, fence, [step], patience=PATIENCE)
    assert await ledger(database) == before


async def test_a_hole_whose_file_comes_is_received(database: AsyncEngine) -> None:
    fence = await record_positions(database, HOST, 9, holes=[5])
    await change_ledger(database, tries=6, received_at=datetime.now(UTC) - DAY / 2)
    late = Step(references=(reference(HOST, 5, 77),))
    await record(database, fence, [late], patience=PATIENCE)
    [row] = await ledger(database)
    assert (row.kind, row.killmail_id, row.killmail_hash, row.tries) == ("received", 77, HASH, 0)
    assert timedelta() < row.next_try_at - datetime.now(UTC) < PATIENCE
    assert datetime.now(UTC) - row.received_at < PATIENCE
    assert await read_cursor(database, HOST) == 9


async def test_what_is_read_again_keeps_its_tries(database: AsyncEngine) -> None:
    fence = await record_positions(database, HOST, 9, received=[5])
    at = datetime.now(UTC) + DAY
    await change_ledger(database, tries=6, next_try_at=at)
    again = Step(references=(reference(HOST, 5),))
    await record(database, fence, [again], patience=PATIENCE)
    [row] = await ledger(database)
    assert (row.tries, row.next_try_at) == (6, at)


async def test_a_try_doesnt_count_for_what_was_recorded_anew_meanwhile(
    database: AsyncEngine,
) -> None:
    """Its killmail became durable, then its file was rewritten: the new content wasn't sent."""
    fence = await record_positions(database, HOST, 9, received=[5])
    await change_ledger(database, next_try_at=datetime.now(UTC))
    [entry] = await due_entries(database, HOST, limit=9)
    async with database.begin() as connection:
        await ack(connection, [(HOST, 5)])
    rewritten = Step(10, references=(reference(HOST, 10),), pending=(Pending(5, 300.0),))
    again = Step(references=(reference(HOST, 5),))
    await record(database, fence, [rewritten, again], patience=PATIENCE)
    before = await ledger(database)
    await record_tries(database, fence, {entry: datetime.now(UTC) + DAY})
    assert await ledger(database) == before
    await take_over(database, HOST)
    assert {entry.position for entry in await due_entries(database, HOST, limit=9)} == {5, 10}


async def test_an_entry_recorded_and_acked_at_once_is_gone(database: AsyncEngine) -> None:
    fence = await record_positions(database, HOST, 9, holes=[5])
    steps = [Step(pending=(Pending(5, 1.0),)), Step(acked=(5,))]
    await record(database, fence, steps, patience=PATIENCE)
    assert await ledger(database) == []


async def test_the_cursor_never_goes_back(database: AsyncEngine) -> None:
    fence = await record_positions(database, HOST, 1000)
    await record(database, fence, [Step(900)], patience=PATIENCE)
    assert await read_cursor(database, HOST) == 1000
    await record(database, fence, [Step(references=(reference(HOST, 7),))], patience=PATIENCE)
    assert await read_cursor(database, HOST) == 1000


async def test_the_cursor_goes_back_when_the_feed_starts_anew(database: AsyncEngine) -> None:
    fence = await record_positions(database, HOST, 96_000_000)
    steps = [Step(999, reset=True), Step(1000)]
    await record(database, fence, steps, patience=PATIENCE)
    assert await read_cursor(database, HOST) == 1000


async def test_who_was_followed_writes_nothing(database: AsyncEngine) -> None:
    """A poller that was suspended wakes up after its successor began."""
    suspended = await record_positions(database, HOST, 10, received=[10])
    await record_positions(database, HOST, 20, received=[20])
    step = Step(30, references=(reference(HOST, 30),), gaps=(Gap(1, 5, "absent"),))
    with pytest.raises(Fenced, match=HOST):
        await record(database, suspended, [step], patience=PATIENCE)
    with pytest.raises(Fenced):
        await record(
            database, suspended, [Step(references=(reference(HOST, 11),))], patience=PATIENCE
        )
    with pytest.raises(Fenced):
        await tried(database, suspended)
    with pytest.raises(Fenced):
        await check_fence(database, suspended, Progress(99, datetime.now(UTC)))
    assert [row.position for row in await ledger(database)] == [10, 20]
    assert await read_cursor(database, HOST) == 20
    assert await gaps(database) == []
    async with database.connect() as connection:
        assert await connection.scalar(select(CURSORS.c.tip)) is None


async def test_given_once_positions_are_allotted_by_the_database(database: AsyncEngine) -> None:
    """Whoever records: what a suspended poller still holds is given to nobody else."""
    fences = [(await take_over(database, OTHER))[0] for _ in range(2)]
    refused = Refused(OTHER, UNALLOTTED, "no killmail", b"x")
    steps = [
        Step(references=(reference(OTHER, UNALLOTTED, 71), reference(OTHER, UNALLOTTED, 72))),
        Step(),
        Step(refused=(refused,), objects=("an-object",)),
    ]
    recorded = [
        step
        for fence in (*fences, *fences)
        for step in await record(database, fence, steps, patience=PATIENCE, gives_once=True)
    ]
    rows = await ledger(database)
    assert [row.position for row in rows] == list(range(1, 17))
    assert [row.kind for row in rows[:4]] == ["received", "received", "received", "object"]
    assert (rows[2].reference, rows[3].object_id) == (b"x", "an-object")
    positions = {r.position: r.killmail_id for step in recorded for r in step.references}
    assert positions == {p: 71 + (p % 4 == 2) for p in range(1, 17) if p % 4 in (1, 2)}
    for row in rows:
        if row.killmail_id:
            whole = decode_reference(row.reference)
            assert (whole.position, whole.killmail_id) == (row.position, row.killmail_id)
    assert await read_cursor(database, OTHER) == 16


async def test_concurrent_given_once_positions_differ(database: AsyncEngine) -> None:
    fences = [(await take_over(database, OTHER))[0] for _ in range(2)]
    step = Step(references=(reference(OTHER, UNALLOTTED, 7),))
    await asyncio.gather(
        *(
            record(database, fence, [step], patience=PATIENCE, gives_once=True)
            for fence in fences * 10
        )
    )
    assert await ledger(database, "position") == list(range(1, 21))


async def test_entries_are_due_when_their_time_has_come(database: AsyncEngine) -> None:
    fence = await record_positions(database, HOST, 9, received=[3, 5], holes=[4])
    assert await tried(database, fence) == []
    now = datetime.now(UTC)
    await change_ledger(database, next_try_at=now - timedelta(seconds=1))
    due_now = await tried(database, fence, 2)
    assert [(e.position, e.kind, e.killmail_id, e.tries) for e in due_now] == [
        (3, "received", 3, 0),
        (4, "hole", None, 0),
    ]
    assert [e.position for e in await tried(database, fence)] == [5]
    assert await tried(database, fence) == []
    assert await ledger(database, "tries") == [1, 1, 1]
    due_at = await next_due_at(database, HOST)
    assert due_at
    assert timedelta(minutes=59) < due_at - now < timedelta(minutes=61)


async def test_only_what_was_recorded_last_is_due_when_taken_over(database: AsyncEngine) -> None:
    """A crash between the ledger and the event log cuts off one batch at most."""
    fence = await record_positions(database, HOST, 9, received=range(5))
    references = (reference(HOST, 11), reference(HOST, 12))
    last = Step(12, references=references, pending=(Pending(10, 9.0),))
    await record(database, fence, [last], patience=PATIENCE)
    for due in ([11, 12], [], []):
        fence, _ = await take_over(database, HOST)
        due_now = await tried(database, fence)
        assert [entry.position for entry in due_now] == due


async def test_all_is_due_for_an_event_log_that_forgot(database: AsyncEngine) -> None:
    fence = await record_positions(database, HOST, 9, received=range(5), holes=[7])
    await change_ledger(database, tries=9)
    assert await recall_all(database) == 5
    due_now = await tried(database, fence)
    assert [entry.position for entry in due_now] == [0, 1, 2, 3, 4]


async def test_tip_and_last_answer_are_recorded(database: AsyncEngine) -> None:
    fence = await record_positions(database, HOST, 9)
    for tip in (12, 13):
        at = datetime.now(UTC)
        if tip == 12:
            await check_fence(database, fence, Progress(tip, at))
        else:
            await record(database, fence, [Step(10)], patience=PATIENCE, progress=Progress(tip, at))
        async with database.connect() as connection:
            row = (await connection.execute(select(CURSORS.c.tip, CURSORS.c.checked_at))).one()
        assert tuple(row) == (tip, at)


async def test_gaps_that_touch_become_one(database: AsyncEngine) -> None:
    fence = await record_positions(database, HOST, 99, received=[12], holes=range(10, 20))

    async def give(*given: Gap) -> list[tuple[int, int, str]]:
        await record(database, fence, [Step(gaps=given)], patience=PATIENCE)
        return await gaps(database)

    assert await give(Gap(10, 10, "absent"), Gap(11, 11, "absent")) == [(10, 11, "absent")]
    assert await give(Gap(13, 13, "absent")) == [(10, 11, "absent"), (13, 13, "absent")]
    assert await ledger(database, "position") == [12, *range(14, 20)]
    assert await give(Gap(12, 12, "absent")) == [(10, 13, "absent")]
    assert await give(Gap(12, 12, "absent")) == [(10, 13, "absent")]
    assert await give(Gap(14, 17, "expired")) == [(10, 13, "absent"), (14, 17, "expired")]
    assert await give(Gap(5, 9, "absent"), Gap(18, 18, "expired")) == [
        (5, 13, "absent"),
        (14, 18, "expired"),
    ]
    # What was read is never taken for a gap.
    assert await ledger(database, "position", "kind") == [(12, "received"), (19, "hole")]


async def test_sources_dont_see_each_other(database: AsyncEngine) -> None:
    await record_positions(database, HOST, 9, received=[3])
    other = await record_positions(database, OTHER, 9, received=[3])
    await change_ledger(database, next_try_at=datetime.now(UTC))
    assert len(await tried(database, other)) == 1
    async with database.begin() as connection:
        await ack(connection, [(OTHER, 3)])
    assert await ledger(database, "source") == [HOST]


async def test_cancelling_leaves_no_lock_behind(sqlite: AsyncEngine) -> None:
    fence, _ = await take_over(sqlite, HOST)
    for position in range(50):
        step = Step(position, references=(reference(HOST, position),))
        recording = asyncio.create_task(record(sqlite, fence, [step], patience=PATIENCE))
        for _ in range(position):
            await asyncio.sleep(0)
        recording.cancel()
        await asyncio.gather(recording, return_exceptions=True)
        async with asyncio.timeout(20):
            await take_over(sqlite, OTHER)
