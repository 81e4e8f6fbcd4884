"""What the database refuses costs itself, never its batch; hashes and zkb blocks cost nothing."""

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.persist import read, store_all
from actors.shared.body import unpack_zkb
from actors.shared.killmail import killmail_hash, parse_killmail
from actors.shared.metrics import HASHES_CORRECTED, ZKB_CLEANED
from actors.shared.reference import NO_JSON, Reference, encode_reference
from actors.shared.rejection import decode_rejection, encode_rejection
from actors.shared.tables import FEED, KILLMAILS, LEDGER, REJECTED
from tests.support.made import SOURCE, a_body, a_reference
from tests.support.tables import receive, rows

BATCH = 200
DIRTY_ZKB = [
    b'{"totalValue":1e400,"points":3}',
    b'{"totalValue":0.0e-20000,"points":3}',
    b'{"totalValue":0.%b,"points":3}' % (b"1" * 20_000),
    b'{"note":"a\\u0000b","points":3}',
]


async def stored(database: AsyncEngine, *batch: Reference | bytes) -> list[int]:
    """Store a batch whose positions stand in the ledger; give the ids in the feed."""
    values = [encode_reference(v) if isinstance(v, Reference) else v for v in batch]
    await store_all(database, *read(values))
    return [row["killmail_id"] for row in await rows(database, FEED)]


@pytest.mark.parametrize("zkb", DIRTY_ZKB, ids=lambda zkb: zkb[:20])
async def test_a_block_that_no_column_holds_is_cleaned(database: AsyncEngine, zkb: bytes) -> None:
    before = ZKB_CLEANED._value.get()
    assert await stored(database, a_reference(a_body(1), zkb=msgspec.Raw(zkb))) == [1]
    (row,) = await rows(database, KILLMAILS)
    assert msgspec.json.decode(unpack_zkb(row["zkb"]))["points"] == 3
    assert ZKB_CLEANED._value.get() == before + 1


@pytest.mark.parametrize("zkb", [b"[]", b'"none"', b"0"])
async def test_a_block_that_can_not_be_read_is_dropped(database: AsyncEngine, zkb: bytes) -> None:
    assert await stored(database, a_reference(a_body(1), zkb=msgspec.Raw(zkb))) == [1]
    (row,) = await rows(database, KILLMAILS)
    assert (row["zkb"], row["zkb_as_of"]) == (None, None)


@pytest.mark.service
@pytest.mark.parametrize("culprits", [[0], [77, 78, 199], list(range(0, BATCH, 40))])
async def test_of_a_batch_only_the_culprits_are_rejected(
    postgresql: AsyncEngine, culprits: list[int]
) -> None:
    async with postgresql.begin() as connection:
        for statement in (
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF NEW.war_id = 666 THEN PERFORM 10 ^ 200000::numeric; END IF; RETURN NEW; END $$",
            "CREATE TRIGGER refuse BEFORE INSERT ON killmails FOR EACH ROW"
            " EXECUTE FUNCTION refuse()",
        ):
            await connection.execute(text(statement))
    await receive(postgresql, SOURCE, range(BATCH + 1))
    batch = [
        encode_reference(a_reference(a_body(i, war_id=666 if i in culprits else 1), i))
        for i in range(BATCH)
    ]
    broken = batch[0].replace(b'"position":0', b'"position":%d' % BATCH) + b"!"
    arrivals, rejections = read([*batch, broken])
    unpublished, refused = await store_all(postgresql, arrivals, rejections)
    assert len(unpublished) == BATCH - len(culprits)
    assert [row["sequence"] for row in await rows(postgresql, FEED)] == list(
        range(1, len(unpublished) + 1)
    )
    read_back = [decode_rejection(value) for value in refused]
    assert sorted(r.position or 0 for r in read_back) == culprits
    assert {r.reason.partition(":")[0] for r in read_back} == {"the database refuses it"}
    assert len(await rows(postgresql, REJECTED)) == len(culprits) + 1
    assert await rows(postgresql, LEDGER) == []


@pytest.mark.service
async def test_what_is_no_fault_of_the_data_is_raised(postgresql: AsyncEngine) -> None:
    async with postgresql.begin() as connection:
        await connection.execute(text("DROP TABLE attackers"))
    with pytest.raises(DBAPIError):
        await stored(postgresql, *(a_reference(a_body(i), i) for i in range(4)))
    assert await rows(postgresql, REJECTED) == []


async def test_a_nul_in_a_reason_costs_nobody(database: AsyncEngine) -> None:
    arrivals, _ = read([encode_reference(a_reference(a_body(1)))])
    await store_all(database, arrivals, [encode_rejection("a\0b", b"x")])
    assert [row["reason"] for row in await rows(database, REJECTED)] == ["a\ufffdb"]
    assert len(await rows(database, KILLMAILS)) == 1


@pytest.mark.parametrize("given", ["", "zz", "0" * 40, "A" * 40, " {} "])
async def test_the_stored_hash_is_the_bodys(database: AsyncEngine, given: str) -> None:
    body = a_body(1)
    right = killmail_hash(parse_killmail(body))
    before = HASHES_CORRECTED._value.get()
    await stored(database, a_reference(body, hash=given.format(right.upper())))
    (row,) = await rows(database, KILLMAILS)
    assert row["killmail_hash"] == right
    counted = HASHES_CORRECTED._value.get() - before
    assert counted == (given in ("zz", "0" * 40, "A" * 40))


async def test_a_body_of_another_killmail_is_rejected(database: AsyncEngine) -> None:
    await receive(database, SOURCE, [4])
    assert await stored(database, a_reference(a_body(1), 4, killmail_id=2)) == []
    assert len(await rows(database, REJECTED)) == 1
    assert await rows(database, LEDGER) == []


async def test_a_reference_that_can_not_be_read_leaves_the_ledger(database: AsyncEngine) -> None:
    await receive(database, SOURCE, [4, 5, 6])
    value = encode_reference(a_reference(a_body(1), 4))
    await stored(
        database,
        value.replace(b'"v":1', b'"v":2'),
        value.replace(b'"position":4', b'"position":5')[:-30],
        msgspec.structs.replace(a_reference(a_body(1), 6), body=NO_JSON),
    )
    assert len(await rows(database, REJECTED)) == 3
    assert await rows(database, LEDGER) == []
