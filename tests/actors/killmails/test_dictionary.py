"""Bodies come back byte for byte with dictionaries, whoever trained them, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.entities.follow import ids_of
from actors.entities.kinds import CHARACTER
from actors.export.read import killmails_of, unpacked
from actors.killmails import dictionary, recompress
from actors.killmails.check.run import check_all
from actors.killmails.dictionary import TooFew, train, train_first
from actors.killmails.persist import read, store, store_all
from actors.killmails.recompress import recompress as recompress_all
from actors.shared import body as bodies_module
from actors.shared.body import NO_DICTIONARY, MissingDictionary, dictionary_of, unpack, unpack_zkb
from actors.shared.daemon import in_daemon
from actors.shared.dictionaries import read_bodies
from actors.shared.feed import entries_after, entry_of
from actors.shared.finding.find import find
from actors.shared.finding.tree import OneAttacker
from actors.shared.reference import encode_reference
from actors.shared.settings import Settings
from actors.shared.tables import DICTIONARIES, KILLMAILS, REJECTED
from actors.snapshots.count import count_day
from api import reads
from api.database import ReadDatabase, open_read_database
from api.view import View
from tests.support.made import LATER, a_body, a_reference, many_attackers
from tests.support.tables import rows

COUNT = 120


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dictionary, "SAMPLES", COUNT)
    monkeypatch.setattr(dictionary, "LEAST_SAMPLES", COUNT)
    monkeypatch.setattr(dictionary, "DICTIONARY_BYTES", 2_048)
    monkeypatch.setattr(recompress, "BATCH", 50)


def body_of(killmail_id: int) -> bytes:
    return a_body(killmail_id, attackers=many_attackers(1 + killmail_id % 9))


def zkb_of(killmail_id: int) -> bytes:
    """Every third has none."""
    return b'{"totalValue":%d.25,"labels":["a"]}' % killmail_id if killmail_id % 3 else b""


async def save(database: AsyncEngine, ids: range, **changes: Any) -> None:
    references = [
        a_reference(body_of(id_), id_, zkb=msgspec.Raw(zkb_of(id_)), **changes) for id_ in ids
    ]
    await store(database, read(map(encode_reference, references))[0])


@pytest.fixture
async def stored(database: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    await save(database, range(1, COUNT + 1))
    yield database
    forget()


def forget() -> None:
    """Have this process know no dictionaries, as one that has just started."""
    bodies_module._dictionaries.clear()
    bodies_module._local.__dict__.clear()


async def dictionaries(database: AsyncEngine) -> set[int]:
    """The dictionaries that stored bodies need. Each body is the one that was given."""
    async with database.connect() as connection:
        found = await read_bodies(connection, select(KILLMAILS))
    for row in found:
        stored = unpack(row.body), unpack_zkb(row.zkb)
        assert stored == (body_of(row.killmail_id), zkb_of(row.killmail_id))
    return {dictionary_of(row.body) for row in found}


async def test_the_first_is_trained_when_there_are_enough(database: AsyncEngine) -> None:
    await save(database, range(1, COUNT))
    assert await train_first(database) is None
    with pytest.raises(TooFew, match=r"there are 119 killmails; 120 are needed"):
        await train(database)
    await save(database, range(COUNT, COUNT + 1))
    trained = await train_first(database)
    assert trained is not None
    assert (trained.version, trained.killmails) == (1, 108)
    assert trained.bytes_after < 0.8 * trained.bytes_before
    assert await train_first(database) is None
    (row,) = await rows(database, DICTIONARIES)
    assert await dictionaries(database) == {NO_DICTIONARY}
    await save(database, range(COUNT + 1, COUNT + 9))
    assert await dictionaries(database) == {NO_DICTIONARY, row["dictionary_id"]}
    forget()


async def test_of_several_trainings_at_once_one_counts(stored: AsyncEngine) -> None:
    trained = await asyncio.gather(*(train(stored) for _ in range(3)))
    assert trained.count(None) == 2
    assert len(await rows(stored, DICTIONARIES)) == 1


async def test_recompression_goes_on_where_it_was_and_keeps_corrections(
    stored: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await train(stored)
    (row,) = await rows(stored, DICTIONARIES)
    assert await recompress_all(stored, until_s=0) == 0
    assert await recompress._recompress_batch(stored) == 50
    assert (await rows(stored, DICTIONARIES))[0]["recompressed_to"] == 50
    assert await dictionaries(stored) == {NO_DICTIONARY, row["dictionary_id"]}
    corrected = a_body(60, war_id=7)

    async def correct_meanwhile(*args: Any) -> Any:
        reference = a_reference(corrected, as_of=LATER)
        await store(stored, read([encode_reference(reference)])[0])
        return await in_daemon(*args)

    monkeypatch.setattr(recompress, "in_daemon", correct_meanwhile)
    await recompress_all(stored, pause_s=0)
    assert (await rows(stored, DICTIONARIES))[0]["recompressed_to"] is None
    found = {one["killmail_id"]: one["body"] for one in await rows(stored, KILLMAILS)}
    assert unpack(found.pop(60)) == corrected
    assert {id_: unpack(body) for id_, body in found.items()} == {
        id_: body_of(id_) for id_ in found
    }
    assert {dictionary_of(body) for body in found.values()} == {row["dictionary_id"]}
    assert await recompress_all(stored) == 0


async def test_recompression_in_two_processes_does_each_body_once(stored: AsyncEngine) -> None:
    await train(stored)
    done = await asyncio.gather(*(recompress_all(stored, pause_s=0) for _ in range(2)))
    assert sum(done) == COUNT
    assert NO_DICTIONARY not in await dictionaries(stored)


async def by_feed(database: AsyncEngine) -> Any:
    async with database.connect() as connection:
        (row,) = await read_bodies(connection, entries_after(4, 1))
    return bytes(entry_of(row._mapping, {}).killmail)


async def by_export(database: AsyncEngine) -> Any:
    async with database.connect() as connection:
        pages = [page async for page in killmails_of(connection, date(2024, 5, 1))]
    return unpacked(pages[0][4]).body


async def by_check(database: AsyncEngine) -> Any:
    assert (await check_all(database, mend=False)).remaining == 0
    return body_of(5)


async def by_snapshot(database: AsyncEngine) -> Any:
    assert (await count_day(database, date(2024, 5, 1))).corporations[98_000_000].kills == COUNT
    return body_of(5)


async def by_follow(database: AsyncEngine) -> Any:
    async with database.connect() as connection:
        assert len((await ids_of(connection, [5]))[CHARACTER]) == 6
    return body_of(5)


async def by_find(database: AsyncEngine) -> Any:
    async with database.connect() as connection:

        async def fetch(query: Any) -> Any:
            return (await connection.execute(query)).all()

        tree = OneAttacker((("ship_type_id", 592),), final_blow=True)
        page = await find(fetch, tree, limit=1, newest_first=False)
    return body_of(page.killmail_ids[0])


async def by_body(database: ReadDatabase) -> Any:
    return await reads.body(database, 5)


async def by_killmail(database: ReadDatabase) -> Any:
    view = await reads.killmail(database, 5)
    assert view is not None
    return bytes(view.entry.killmail)


async def by_page_of_the_feed(database: ReadDatabase) -> Any:
    (view,) = await reads.feed_page(database, 4, 1)
    assert isinstance(view, View)
    return bytes(view.entry.killmail)


async def by_new_version(database: AsyncEngine) -> Any:
    reference = a_reference(a_body(5, war_id=7), as_of=LATER)
    (entry,) = await store(database, read([encode_reference(reference)])[0])
    assert entry.entry.kind == "updated"
    return body_of(5)


OURS = (by_feed, by_export, by_check, by_snapshot, by_follow, by_find, by_new_version)
GATEWAYS = (by_body, by_killmail, by_page_of_the_feed)


async def test_readers_learn_what_they_do_not_know(sqlite: AsyncEngine, tmp_path: Path) -> None:
    await save(sqlite, range(1, COUNT + 1))
    await train(sqlite)
    await recompress_all(sqlite, pause_s=0)
    forget()
    with pytest.raises(MissingDictionary):
        unpack((await rows(sqlite, KILLMAILS))[0]["body"])
    async with open_read_database(Settings(data_dir=tmp_path)) as gateway:
        for gateways in GATEWAYS:
            forget()
            assert await gateways(gateway) == body_of(5), gateways.__name__
    for ours in OURS:
        forget()
        assert await ours(sqlite) == body_of(5), ours.__name__


async def test_a_missing_dictionary_costs_only_its_killmails(stored: AsyncEngine) -> None:
    await train(stored)
    await save(stored, range(COUNT + 1, COUNT + 3))
    (row,) = await rows(stored, DICTIONARIES)
    async with stored.begin() as connection:
        await connection.execute(delete(DICTIONARIES))
    await save(stored, range(COUNT + 3, COUNT + 4))  # not with what this process remembers
    forget()
    found = await check_all(stored, mend=False)
    assert found.differing["unreadable"] == 2
    bodies = [a_body(id_, war_id=7) for id_ in (1, COUNT + 1, COUNT + 3)]
    references = [a_reference(body, n, as_of=LATER) for n, body in enumerate(bodies)]
    unpublished, _ = await store_all(stored, *read(map(encode_reference, references)))
    assert [one.entry.killmail_id for one in unpublished] == [1, COUNT + 3]
    (rejected,) = await rows(stored, REJECTED)
    assert f"dictionary {row['dictionary_id']}" in rejected["reason"]
