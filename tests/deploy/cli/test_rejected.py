"""`killstream rejected`: nothing is lost between the rejected records and the ledger."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner, Result

from actors.killmails.reject import record_rejections
from actors.shared.database import open_database
from actors.shared.reference import NO_JSON, Reference, decode_reference, encode_reference
from actors.shared.rejection import REJECTED_SOURCE, encode_rejection
from actors.shared.settings import PREFIX, Settings, settings
from actors.shared.tables import LEDGER, REJECTED
from deploy.cli import app
from deploy.cli.rejected_records import Selection, find, list_records
from tests.support.made import SOURCE, a_body, a_reference
from tests.support.processes import start_killstream
from tests.support.servers import empty_servers
from tests.support.tables import rows

REFUSED = "ESI answers 422 to /killmails/{}/{}: Invalid killmail_id and/or killmail_hash"
DOCUMENT = msgspec.json.encode(
    {"killmail_id": 140000003, "hash": "0" * 40, "esi": None, "zkb": {}, "uploaded_at": 1795197900}
)


@pytest.fixture
async def database(
    embedded: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[AsyncEngine]:
    """The database that the command is to find."""
    monkeypatch.setenv(f"{PREFIX}DATA_DIR", str(embedded.data_dir))
    settings.cache_clear()
    async with open_database(embedded) as engine:
        yield engine
    settings.cache_clear()


async def reject(database: AsyncEngine, *rejections: bytes) -> None:
    async with database.begin() as connection:
        await record_rejections(connection, rejections)


async def command(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["rejected", *arguments])


def bare(killmail_id: int, position: int) -> Reference:
    """Make a reference without a body."""
    whole = a_reference(a_body(killmail_id), position)
    return msgspec.structs.replace(whole, body=NO_JSON)


def refused(killmail_id: int, position: int) -> bytes:
    """Make the rejection of a killmail whose body ESI doesn't give."""
    reference = bare(killmail_id, position)
    reason = REFUSED.format(killmail_id, reference.hash)
    return encode_rejection(reason, encode_reference(reference), reference)


async def test_list_counts_kinds_of_reasons_and_shows_the_newest(database: AsyncEngine) -> None:
    await reject(database, *(refused(140000000 + i, i) for i in range(450)))
    await reject(database, encode_rejection("not a killmail: HTML", b"<html>"))
    listed = await command("list", "--limit", "2")
    assert listed.exit_code == 0
    assert "      450  ESI answers 422 to /killmails/N/HASH: Invalid" in listed.output
    assert "        1  not a killmail: HTML" in listed.output
    assert "      451  in total" in listed.output
    assert len(listed.output.splitlines()) == 6

    as_json = msgspec.json.decode((await command("list", "--json", "--reason", "HTM.")).output)
    assert as_json["total"] == 1
    assert [r["rejection"]["value"] for r in as_json["newest"]] == ["<html>"]


async def test_lists_show_nothing_that_a_terminal_obeys_and_few_kinds(
    database: AsyncEngine,
) -> None:
    reasons = [f"odd\x07\n{i} {'x' * i}" for i in range(30)]
    await reject(database, *(encode_rejection(reason, b"{}") for reason in reasons))
    for arguments in (["list", "--limit", "1"], ["retry", "--all", "--dry-run"]):
        shown = (await command(*arguments)).output
        assert "\x07" not in shown
        assert len(shown.splitlines()) < 30
    assert "       10  for 10 other reasons" in (await command("list")).output
    assert "odd\\x07" in (await command("list")).output


async def test_list_by_age(database: AsyncEngine) -> None:
    await reject(database, refused(1, 1))
    async with database.begin() as connection:
        past = datetime.now(UTC) - timedelta(hours=3)
        await connection.execute(update(REJECTED).values(rejected_at=past))
    await reject(database, refused(2, 2))
    for option, killmail_id in (("--older-than", 1), ("--newer-than", 2)):
        listed = msgspec.json.decode((await command("list", "--json", option, "2h")).output)
        assert [r["rejection"]["killmail_id"] for r in listed["newest"]] == [killmail_id]
    wrong = await command("list", "--older-than", "yesterday")
    assert (wrong.exit_code, "isn't an age" in wrong.output) == (2, True)


async def test_show_prints_the_whole_record(database: AsyncEngine) -> None:
    rejection = refused(140000001, 5)
    await reject(database, rejection)
    (row,) = await rows(database, REJECTED)
    shown = await command("show", row["digest"][:6])
    assert msgspec.json.decode(shown.output)["rejection"] == msgspec.json.decode(rejection)
    missing = await command("show", "f" * 64)
    assert missing.exit_code == 1
    assert len(missing.output.splitlines()) == 1
    assert (await command("show", "%")).exit_code == 1


async def test_an_ambiguous_id_is_refused(database: AsyncEngine) -> None:
    await reject(database, *(refused(i, i) for i in range(20)))
    digests = [row["digest"] for row in await rows(database, REJECTED)]
    twice = next(d[0] for d in digests if sum(e[0] == d[0] for e in digests) > 1)
    assert "several" in (await command("show", twice)).output


async def test_retry_moves_a_record_to_the_ledger(database: AsyncEngine) -> None:
    rejection = refused(140000001, 5)
    await reject(database, rejection, refused(140000002, 6))
    digest = next(
        row["digest"] for row in await rows(database, REJECTED) if row["rejection"] == rejection
    )
    dry = await command("retry", digest[:10], "--dry-run")
    assert "would be retried: 1" in dry.output
    assert len(await rows(database, REJECTED)) == 2

    done = await command("retry", digest[:10])
    assert done.exit_code == 0
    assert "retried: 1, still rejected: 0" in done.output
    assert "`killstream up` sends them from there" in done.output
    assert [row["digest"] != digest for row in await rows(database, REJECTED)] == [True]
    (entry,) = await rows(database, LEDGER)
    assert (entry["source"], entry["position"], entry["kind"]) == (SOURCE, 5, "received")
    assert (entry["killmail_id"], entry["tries"], entry["refusals"]) == (140000001, 0, 0)
    assert entry["next_try_at"] <= datetime.now(UTC)
    assert decode_reference(entry["reference"]).killmail_id == 140000001


async def test_retry_by_reason_and_all(database: AsyncEngine) -> None:
    await reject(database, *(refused(140000000 + i, i) for i in range(450)))
    other = a_reference(a_body(7), 1000)
    await reject(database, encode_rejection("no room", encode_reference(other), other))
    by_reason = await command("retry", "--reason", "ESI answers")
    assert "retried: 450, still rejected: 0" in by_reason.output
    assert len(await rows(database, LEDGER)) == 450
    everything = await command("retry", "--all")
    assert "retried: 1," in everything.output
    assert await rows(database, REJECTED) == []


@pytest.mark.parametrize("arguments", [[], ["--all", "--reason", "x"], ["abc", "--all"]])
async def test_retry_requires_exactly_one_selection(
    database: AsyncEngine, arguments: list[str]
) -> None:
    assert (await command("retry", *arguments)).exit_code == 2


async def test_retry_decodes_source_documents_and_keeps_invalid_records(
    database: AsyncEngine,
) -> None:
    await reject(
        database,
        encode_rejection("not a killmail document", DOCUMENT, source="r2z2:host", position=17),
        encode_rejection("not a reference: it was", DOCUMENT),
        encode_rejection("no JSON", b"\xff{", source="r2z2:host", position=18),
    )
    done = await command("retry", "--all")
    assert done.exit_code == 1
    assert "is still rejected: not a reference" in done.output
    assert "retried: 2, still rejected: 1" in done.output
    (left,) = await rows(database, REJECTED)
    assert left["reason"] == "no JSON"
    entries = {row["source"]: row for row in await rows(database, LEDGER)}
    assert entries["r2z2:host"]["position"] == 17
    allotted = entries[REJECTED_SOURCE]["position"]
    assert decode_reference(entries[REJECTED_SOURCE]["reference"]).position == allotted


async def test_a_record_whose_position_is_pending_gets_a_new_position(
    database: AsyncEngine,
) -> None:
    reference = bare(140000001, 5)
    value = encode_reference(reference)
    await reject(
        database,
        encode_rejection("one reason", value, reference),
        encode_rejection("another reason", value, reference),
    )
    await command("retry", "--all")
    entries = await rows(database, LEDGER)
    assert {entry["source"] for entry in entries} == {SOURCE, REJECTED_SOURCE}
    for entry in entries:
        assert decode_reference(entry["reference"]).position == entry["position"]


async def test_without_a_database_it_ends_with_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{PREFIX}DATA_DIR", str(tmp_path / "nothing"))
    settings.cache_clear()
    ended = await command("list")
    settings.cache_clear()
    assert ended.exit_code == 1
    assert "no database in" in ended.output
    assert not (tmp_path / "nothing").exists()


@pytest.mark.service
async def test_with_rabbitmq_records_are_sent_to_the_actors_at_once(tmp_path: Path) -> None:
    import pika

    whole = a_reference(a_body(7), 1000)
    async with empty_servers() as servers, open_database(servers) as engine:
        await reject(
            engine,
            refused(140000001, 5),
            encode_rejection("no room", encode_reference(whole), whole),
        )
        started = await start_killstream(
            "rejected", "retry", "--all", settings=servers, log=tmp_path / "log"
        )
        await started.wait_for_output("retried: 2")
        assert await started.process.wait() == 0
        assert len(await rows(engine, LEDGER)) == 2
        assert await rows(engine, REJECTED) == []
        await reject(engine, refused(140000002, 6))
        (record,) = (await list_records(engine, Selection(), 5)).newest
        assert await find(engine, record.id[:5]) == record
        connection = pika.BlockingConnection(pika.URLParameters(servers.rabbitmq_url))
        for queue in ("database", "esi"):
            assert connection.channel().basic_get(servers.named(queue))[0] is not None
        connection.close()
