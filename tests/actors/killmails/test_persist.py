"""Storing: one transaction, one entry each, later versions published as such, nothing twice."""

import asyncio
import itertools
import random
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from sqlalchemy import Table, func, insert, select, text, update
from sqlalchemy.exc import NoResultFound
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.append import Unpublished
from actors.killmails.check.run import check_all
from actors.killmails.persist import read, store
from actors.shared.body import unpack, unpack_zkb
from actors.shared.feed import Entry, entries_after, entry_of
from actors.shared.killmail import MAX_BODY_BYTES
from actors.shared.reference import Reference, encode_reference
from actors.shared.rejection import decode_rejection, encode_rejection
from actors.shared.tables import (
    ATTACKERS,
    FEED,
    FEED_COUNTER,
    KILLMAILS,
    LEDGER,
    REJECTED,
)
from tests.support.killmails import references
from tests.support.made import (
    LATER,
    SOURCE,
    a_body,
    a_reference,
    an_attacker,
    many_attackers,
    many_items,
)
from tests.support.tables import feed_of, receive, rows


async def persisted(
    database: AsyncEngine, values: Iterable[Reference | bytes]
) -> list[Unpublished[Entry]]:
    """Read and store a batch as `persist` does."""
    batch = [encode_reference(v) if isinstance(v, Reference) else v for v in values]
    return await store(database, *read(batch))


async def received(database: AsyncEngine, positions: Iterable[int], source: str = SOURCE) -> None:
    """Record positions in the ledger as a source does."""
    await receive(database, source, positions)


async def slow_down(database: AsyncEngine, table: Table, event: str, each: str) -> None:
    """Make a table slow, so that transactions surely overlap; SQLite has one writer anyway."""
    if database.dialect.name == "postgresql":
        sleep = "PERFORM pg_sleep(0.002); RETURN COALESCE(NEW, OLD);"
        async with database.begin() as connection:
            for statement in (
                f"CREATE OR REPLACE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql"
                f" AS $$ BEGIN {sleep} END $$",
                f"CREATE TRIGGER slow BEFORE {event} ON {table.name}"
                f" FOR EACH {each} EXECUTE FUNCTION slowly()",
            ):
                await connection.exec_driver_sql(statement)


async def ledger_of(database: AsyncEngine) -> list[int]:
    return [row["position"] for row in await rows(database, LEDGER)]


async def test_what_comes_twice_changes_nothing(database: AsyncEngine) -> None:
    batch = list(itertools.islice(references(), 50))
    assert len(await persisted(database, batch)) == 50
    before = [await rows(database, table) for table in (KILLMAILS, ATTACKERS, FEED)]
    assert await persisted(database, batch) == []
    assert [await rows(database, table) for table in (KILLMAILS, ATTACKERS, FEED)] == before


async def test_a_killmail_that_is_twice_in_one_batch_has_one_entry(database: AsyncEngine) -> None:
    reference = a_reference(a_body(1))
    unpublished = await persisted(database, [reference, reference])
    assert [stored.entry.sequence for stored in unpublished] == [1]
    assert await feed_of(database) == [(1, 1, "added")]


async def test_of_two_versions_in_one_batch_the_later_is_stored(database: AsyncEngine) -> None:
    early = a_reference(a_body(1, war_id=1))
    late = a_reference(a_body(1, war_id=2), as_of=LATER)
    await persisted(database, [late, early])
    assert [row["war_id"] for row in await rows(database, KILLMAILS)] == [2]


async def test_the_same_batch_at_the_same_time_is_stored_once(database: AsyncEngine) -> None:
    batch = list(itertools.islice(references(), 40))
    published = await asyncio.gather(*(persisted(database, batch) for _ in range(6)))
    assert sum(map(len, published)) == 40
    assert [sequence for sequence, _, _ in await feed_of(database)] == list(range(1, 41))


async def test_overlapping_batches_in_any_order_neither_deadlock_nor_double(
    database: AsyncEngine,
) -> None:
    for table, event in ((KILLMAILS, "INSERT OR UPDATE"), (LEDGER, "DELETE")):
        await slow_down(database, table, event, "ROW")
    batch = list(itertools.islice(references(), 40))
    await received(database, range(40), "r2z2:bench")
    order = random.Random(1)
    newer = [
        encode_reference(msgspec.structs.replace(a.reference, as_of=LATER, zkb=msgspec.Raw(b"{}")))
        for a in read(batch)[0]
    ]
    published: list[Unpublished[Entry]] = []
    async with asyncio.timeout(120):
        for values in (batch, batch + newer, newer):
            shuffled = [order.sample(values, len(values)) for _ in range(6)]
            for stored in await asyncio.gather(*(persisted(database, some) for some in shuffled)):
                published += stored
    feed = await feed_of(database)
    assert [sequence for sequence, _, _ in feed] == list(range(1, 81))
    assert sorted(stored.entry.sequence for stored in published) == list(range(1, 81))
    for kind in ("added", "updated"):
        assert len({killmail_id for _, killmail_id, this in feed if this == kind}) == 40
    assert {unpack_zkb(row["zkb"]) for row in await rows(database, KILLMAILS)} == {b"{}"}
    assert await ledger_of(database) == []


async def test_a_rolled_back_batch_leaves_nothing_and_burns_no_number(
    database: AsyncEngine,
) -> None:
    await received(database, [5])
    good, _ = read([encode_reference(a_reference(a_body(1), 5))])
    async with database.begin() as connection:
        await connection.execute(FEED_COUNTER.delete())
    with pytest.raises(NoResultFound):
        await store(database, good, [encode_rejection("why", b"bad")])
    async with database.begin() as connection:
        await connection.execute(
            insert(FEED_COUNTER), {"only": 1, "last_sequence": 0, "feed_id": "test"}
        )
    for table in (KILLMAILS, ATTACKERS, FEED, REJECTED):
        assert await rows(database, table) == []
    assert await ledger_of(database) == [5]
    assert [stored.entry.sequence for stored in await store(database, good)] == [1]


async def test_ledger_entries_are_acked_with_the_rows(database: AsyncEngine) -> None:
    await received(database, range(5))
    await persisted(database, [a_reference(a_body(i), i) for i in (1, 3)])
    assert await ledger_of(database) == [0, 2, 4]


async def test_a_known_killmail_acks_its_ledger_entry_too(database: AsyncEngine) -> None:
    await persisted(database, [a_reference(a_body(1), 1)])
    await received(database, [2])
    await persisted(database, [a_reference(a_body(1), 2)])
    assert await ledger_of(database) == []


async def test_later_zkb_is_an_updated_entry(database: AsyncEngine) -> None:
    await persisted(database, [a_reference(a_body(1), zkb=msgspec.Raw(b'{"points":1}'))])
    newer = a_reference(a_body(1), as_of=LATER, zkb=msgspec.Raw(b'{"points":2}'))
    (stored,) = await persisted(database, [newer])
    assert (stored.entry.sequence, stored.entry.kind) == (2, "updated")
    assert await feed_of(database) == [(1, 1, "added"), (2, 1, "updated")]
    (row,) = await rows(database, KILLMAILS)
    assert msgspec.json.decode(unpack_zkb(row["zkb"])) == {"points": 2}
    assert row["body_as_of"].timestamp() == LATER


@pytest.mark.parametrize("seconds", [-1.0, 0.0])
async def test_an_older_or_equal_version_changes_nothing(
    database: AsyncEngine, seconds: float
) -> None:
    first = a_reference(a_body(1), zkb=msgspec.Raw(b'{"points":1}'))
    await persisted(database, [first])
    before = await rows(database, KILLMAILS)
    other = a_reference(
        a_body(1, war_id=9), as_of=first.as_of + seconds, zkb=msgspec.Raw(b'{"points":2}')
    )
    assert await persisted(database, [other]) == []
    assert await rows(database, KILLMAILS) == before


async def test_a_later_version_that_says_the_same_is_no_entry(database: AsyncEngine) -> None:
    await persisted(database, [a_reference(a_body(1), zkb=msgspec.Raw(b'{"a":1,"b":2}'))])
    same = a_reference(a_body(1), as_of=LATER, zkb=msgspec.Raw(b'{ "b": 2, "a": 1 }'))
    assert await persisted(database, [same]) == []


async def test_a_later_version_without_zkb_leaves_the_known_one(database: AsyncEngine) -> None:
    await persisted(database, [a_reference(a_body(1), zkb=msgspec.Raw(b'{"points":1}'))])
    await persisted(database, [a_reference(a_body(1, war_id=2), as_of=LATER)])
    (row,) = await rows(database, KILLMAILS)
    assert (row["war_id"], msgspec.json.decode(unpack_zkb(row["zkb"]))) == (2, {"points": 1})


async def test_the_entry_of_a_changed_body_has_the_zkb_that_is_known(
    database: AsyncEngine,
) -> None:
    await persisted(database, [a_reference(a_body(1), zkb=msgspec.Raw(b'{"points":1}'))])
    (stored,) = await persisted(database, [a_reference(a_body(1, war_id=2), as_of=LATER)])
    assert msgspec.json.decode(stored.entry.zkb) == {"points": 1}


async def test_a_changed_body_rewrites_body_columns_and_attackers(database: AsyncEngine) -> None:
    await persisted(database, [a_reference(a_body(1, attackers=many_attackers(5)))])
    body = a_body(1, solar_system_id=30_000_142, attackers=[an_attacker(character_id=3)])
    (stored,) = await persisted(database, [a_reference(body, as_of=LATER)])
    assert (stored.entry.kind, bytes(stored.entry.killmail)) == ("updated", body)
    (row,) = await rows(database, KILLMAILS)
    assert (row["solar_system_id"], row["attacker_count"], unpack(row["body"])) == (
        30_000_142, 1, body,
    )  # fmt: skip
    assert [a["character_id"] for a in await rows(database, ATTACKERS)] == [3]


async def test_numbers_beyond_floats_in_unknown_fields_do_not_stop_an_update(
    database: AsyncEngine,
) -> None:
    body = a_body(1, new_field=0).replace(b'"new_field":0', b'"new_field":1e999')
    await persisted(database, [a_reference(body)])
    assert await persisted(database, [a_reference(body, as_of=LATER)]) == []
    changed = body.replace(b"1e999", b"2e999")
    (stored,) = await persisted(database, [a_reference(changed, as_of=LATER + 1)])
    assert stored.entry.kind == "updated"


async def test_the_bad_are_rejected_while_the_good_are_stored(database: AsyncEngine) -> None:
    await received(database, range(4))
    values = [
        encode_reference(a_reference(a_body(1), 0)),
        b"\xff no reference",
        encode_reference(a_reference(a_body(4), 1)).replace(b'"attackers"', b'"atackers"'),
        encode_reference(a_reference(a_body(4), 2, killmail_id=5)),
        encode_reference(a_reference(a_body(7), 3)),
    ]
    unpublished = await persisted(database, values)
    assert [stored.entry.killmail_id for stored in unpublished] == [1, 7]
    refused = [decode_rejection(row["rejection"]).value for row in await rows(database, REJECTED)]
    assert set(refused) == {"\\xff no reference", values[2].decode(), values[3].decode()}
    assert await ledger_of(database) == []


async def test_a_batch_of_nothing_but_bad_ones_is_rejected(database: AsyncEngine) -> None:
    assert await persisted(database, [b"1", b"2", b"2"]) == []
    assert len(await rows(database, REJECTED)) == 2
    assert await rows(database, KILLMAILS) == []


async def test_an_empty_batch_does_nothing(database: AsyncEngine) -> None:
    assert await persisted(database, []) == []


async def test_a_killmail_without_attackers_is_stored(database: AsyncEngine) -> None:
    await persisted(database, [a_reference(a_body(1, attackers=[]))])
    (row,) = await rows(database, KILLMAILS)
    assert row["attacker_count"] == 0


async def test_a_body_of_two_megabytes_passes_the_store(database: AsyncEngine) -> None:
    body = a_body(1, victim={"damage_taken": 1, "ship_type_id": 2, "items": many_items(40_000)})
    assert len(body) > 2 * 1024 * 1024
    (stored,) = await persisted(database, [a_reference(body)])
    (row,) = await rows(database, KILLMAILS)
    assert unpack(row["body"]) == bytes(stored.entry.killmail) == body


async def test_five_thousand_attackers_pass_the_store(database: AsyncEngine) -> None:
    body = a_body(1, attackers=many_attackers(5_000))
    await persisted(database, [a_reference(body)])
    attackers = await rows(database, ATTACKERS)
    assert [a["character_id"] for a in attackers] == [90_000_000 + i for i in range(5_000)]
    assert [a["final_blow"] for a in attackers] == [False] * 4_999 + [True]


async def test_numbers_too_large_for_attackers_cost_nothing_but_themselves(
    database: AsyncEngine,
) -> None:
    large = 2**31
    ids = dict.fromkeys(("corporation_id", "alliance_id", "faction_id", "ship_type_id"), large)
    huge = an_attacker(
        character_id=large, weapon_type_id=large, damage_done=large, security_status=1e300, **ids
    )
    tiny = an_attacker(damage_done=-large, security_status=-1e-300, corporation_id=large - 1)
    await persisted(database, [a_reference(a_body(1, attackers=[huge, tiny]))])
    first, second = await rows(database, ATTACKERS)
    assert {first[name] for name in (*ids, "weapon_type_id")} == {None}
    assert (first["character_id"], first["damage_done"]) == (large, large - 1)
    assert first["security_status"] == pytest.approx(3.4e38)
    assert (second["damage_done"], second["corporation_id"]) == (1 - large, large - 1)
    assert (await check_all(database, mend=False)).remaining == 0


@pytest.mark.service
@pytest.mark.parametrize(
    "statement",
    [
        ATTACKERS.delete().where(ATTACKERS.c.killmail_id == 7),
        ATTACKERS.select().where(ATTACKERS.c.killmail_id >= 7, ATTACKERS.c.killmail_id <= 9),
    ],
    ids=["delete", "range"],
)
async def test_attackers_are_found_by_their_index(postgresql: AsyncEngine, statement: Any) -> None:
    async with postgresql.begin() as connection:
        await connection.execute(text("SET LOCAL enable_seqscan = off"))  # the table is empty
        compiled = statement.compile(postgresql, compile_kwargs={"literal_binds": True})
        plan = await connection.scalars(text(f"EXPLAIN {compiled}"))
        assert "attackers_killmail" in str(plan.all())


async def test_a_body_over_the_limit_is_rejected(database: AsyncEngine) -> None:
    reference = a_reference(a_body(1))
    body = a_body(1, padding="x" * MAX_BODY_BYTES)
    await persisted(database, [msgspec.structs.replace(reference, body=msgspec.Raw(body))])
    (row,) = await rows(database, REJECTED)
    assert "over the limit" in row["reason"]
    assert body.decode() in decode_rejection(row["rejection"]).value


@pytest.mark.parametrize(
    ("killmail_id", "attackers", "reason"),
    [(2**31, 1, "killmail_id is over 2147483647"), (1, 2**15 + 1, "32769 attackers")],
    ids=["id", "attackers"],
)
async def test_what_the_tables_cant_hold_is_rejected(
    sqlite: AsyncEngine, killmail_id: int, attackers: int, reason: str
) -> None:
    body = a_body(killmail_id, attackers=many_attackers(attackers))
    await persisted(sqlite, [a_reference(body, killmail_id)])
    (row,) = await rows(sqlite, REJECTED)
    assert reason in row["reason"]


async def test_fields_that_esi_adds_one_day_survive(database: AsyncEngine) -> None:
    body = b'{"new": [1.50, {"b":\t"\\u0000 \xc3\xa9"}],\n' + a_body(1)[1:]
    await persisted(database, [a_reference(body)])
    async with database.connect() as connection:
        row = (await connection.execute(entries_after(0, 10))).one()
    assert bytes(entry_of(row._mapping, {}).killmail) == body


@pytest.mark.parametrize("stands_at", [0, 1])
async def test_a_counter_behind_the_feed_stops_the_store_loudly(
    database: AsyncEngine, stands_at: int
) -> None:
    await persisted(database, [a_reference(a_body(i)) for i in (1, 2)])
    async with database.begin() as connection:
        await connection.execute(update(FEED_COUNTER).values(last_sequence=stands_at))
    with pytest.raises(RuntimeError, match="feed_counter"):
        await persisted(database, [a_reference(a_body(3))])
    assert len(await rows(database, KILLMAILS)) == 2


async def test_a_missing_counter_stops_the_store_loudly(database: AsyncEngine) -> None:
    async with database.begin() as connection:
        await connection.execute(FEED_COUNTER.delete())
    with pytest.raises(NoResultFound):
        await persisted(database, [a_reference(a_body(1))])
    assert await rows(database, KILLMAILS) == []


@pytest.mark.service
async def test_a_reader_never_sees_a_hole_below_the_newest_number(postgresql: AsyncEngine) -> None:
    await slow_down(postgresql, FEED, "INSERT", "STATEMENT")
    values = list(itertools.islice(references(), 1_600))
    order = random.Random(2)
    order.shuffle(values)
    writing = True

    async def write(part: list[bytes]) -> None:
        while part:
            size = order.randint(1, 25)
            await persisted(postgresql, part[:size])
            part = part[size:]

    async def inspect() -> int:
        looks = 0
        while writing:
            async with postgresql.connect() as connection:
                seen = select(func.count(), func.coalesce(func.max(FEED.c.sequence), 0))
                count, newest = (await connection.execute(seen)).one()
                assert count == newest
            looks += 1
        return looks

    async with asyncio.TaskGroup() as group:
        inspecting = [group.create_task(inspect()) for _ in range(2)]
        async with asyncio.TaskGroup() as writers:
            for i in range(8):
                writers.create_task(write(values[i::8]))
        writing = False
    assert all(task.result() > 10 for task in inspecting)
    assert [sequence for sequence, _, _ in await feed_of(postgresql)] == list(range(1, 1_601))
