"""Exports."""

import asyncio
import csv
import io
import time
from typing import Any

import aiohttp
import msgspec
import pyarrow.parquet as pq
import pytest

from actors.shared.settings import Settings
from api.doors import export
from api.doors.metrics import CONNECTIONS
from tests.api.gateway import Writer, a_killmail, serve

ZKB = {"totalValue": 5e6, "points": 3, "npc": False, "labels": ["pvp", "solo"], "hash": "a" * 40}
VICTIM = {"character_id": 1, "ship_type_id": 2, "damage_taken": 7}


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "PAGE_ROWS", 2)


async def _lines(client: aiohttp.ClientSession, query: str = "") -> list[Any]:
    async with client.get(f"/export.ndjson{query}") as answer:
        assert (answer.status, answer.content_type) == (200, "application/x-ndjson")
        return [msgspec.json.decode(line) async for line in answer.content]


async def test_lines_go_on_after_a_cut(client: aiohttp.ClientSession, writer: Writer) -> None:
    bodies = [a_killmail(id_).replace(b",", b",\n") for id_ in range(1, 8)]
    await writer.store(*bodies, zkb=ZKB)
    lines = await _lines(client)
    assert [line["killmail_id"] for line in lines] == [7, 6, 5, 4, 3, 2, 1]
    assert lines[0] == {
        "killmail_id": 7,
        "killmail_hash": "a" * 40,
        "killmail": msgspec.json.decode(bodies[6]),
        "zkb": ZKB,
    }
    *some, cut = await _lines(client, "?limit=3")
    assert cut == {"cut": {"reason": "rows", "after": 5}}
    assert [*some, *(await _lines(client, "?after=5"))] == lines
    assert await _lines(client, "?after=0") == []


async def test_exports_are_compressed_for_clients_that_take_it(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    await writer.store(*[a_killmail(id_) for id_ in range(1, 30)])
    for headers, encoding in (({}, "gzip"), ({"Accept-Encoding": "identity"}, None)):
        async with client.get("/export.ndjson", headers=headers) as answer:
            assert answer.headers.get("Content-Encoding") == encoding
            assert len((await answer.text()).splitlines()) == 29
    async with client.get("/export.parquet") as answer:
        assert "Content-Encoding" not in answer.headers


async def test_rows_of_csv(client: aiohttp.ClientSession, writer: Writer) -> None:
    await writer.store(a_killmail(7), zkb=ZKB)
    await writer.store(a_killmail(6, attackers=[], victim=VICTIM | {"alliance_id": 9}))
    async with client.get("/export.csv?limit=1") as answer:
        assert answer.content_type == "text/csv"
        text = await answer.text()
    assert text.endswith('\n# cut: {"reason":"rows","after":7}\n')
    async with client.get("/export.csv") as answer:
        seven, six = csv.DictReader(io.StringIO(await answer.text()))
    assert seven | {"killmail_id": "7", "killmail_time": "2026-01-01T00:07:00Z"} == seven
    assert seven | {"victim_character_name": "Ann", "final_blow_weapon_type_name": "Gun"} == seven
    assert seven | {"total_value": "5000000.0", "npc": "false", "labels": "pvp solo"} == seven
    assert six | {"victim_alliance_id": "9", "victim_alliance_name": "", "points": ""} == six
    assert six | {"attacker_count": "0", "final_blow_character_id": ""} == six


async def test_no_name_is_a_formula(client: aiohttp.ClientSession, writer: Writer) -> None:
    await writer.store(a_killmail(7), zkb={"labels": ["=1+1"]})
    async with client.get("/export.csv") as answer:
        assert (await answer.text()).rstrip().endswith("'=1+1")


async def test_parquet_is_as_of_the_command(client: aiohttp.ClientSession, writer: Writer) -> None:
    await writer.store(*[a_killmail(id_) for id_ in range(1, 8)], zkb=ZKB)
    async with client.get("/export.parquet?limit=5") as answer:
        assert answer.content_type == "application/vnd.apache.parquet"
        file = pq.ParquetFile(io.BytesIO(await answer.read()))
    assert [row["killmail_id"] for row in file.read().to_pylist()] == [7, 6, 5, 4, 3]
    assert file.read().to_pylist()[0]["attackers"][0]["weapon_type_id"] == 6
    metadata = file.metadata.metadata or {}
    assert msgspec.json.decode(metadata[b"killstream.cut"]) == {"reason": "rows", "after": 3}
    async with client.get("/export.parquet?after=3") as answer:
        file = pq.ParquetFile(io.BytesIO(await answer.read()))
    assert [row["killmail_id"] for row in file.read().to_pylist()] == [2, 1]
    assert b"killstream.cut" not in (file.metadata.metadata or {})


@pytest.mark.parametrize(("bound", "reason"), [("MAX_BYTES", "bytes"), ("MAX_S", "time")])
async def test_exports_are_cut(
    client: aiohttp.ClientSession,
    writer: Writer,
    monkeypatch: pytest.MonkeyPatch,
    bound: str,
    reason: str,
) -> None:
    monkeypatch.setattr(export, bound, 0)
    await writer.store(*map(a_killmail, range(1, 8)))
    *some, cut = await _lines(client)
    assert (len(some), cut) == (2, {"cut": {"reason": reason, "after": 6}})


async def test_a_client_that_leaves_ends_its_export(settings: Settings, writer: Writer) -> None:
    await writer.store(*[a_killmail(id_, padding="x" * 500_000) for id_ in range(1, 31)])
    few = settings.model_copy(update={"api_exports_per_client": 1})
    async with serve(few) as address, aiohttp.ClientSession(address) as client:
        async with client.get("/export.ndjson", read_bufsize=1024) as answer:
            await answer.content.readany()
            async with client.get("/export.csv") as other:
                assert other.status == 429
            answer.close()
        async with asyncio.timeout(5):
            while CONNECTIONS.labels("export")._value.get():
                await asyncio.sleep(0.01)


async def test_exports_end_when_the_gateway_does(settings: Settings, writer: Writer) -> None:
    await writer.store(*[a_killmail(id_, padding="x" * 500_000) for id_ in range(1, 31)])
    async with aiohttp.ClientSession(read_bufsize=1024) as client:
        async with serve(settings) as address:
            reading = await client.get(f"{address}/export.ndjson")
            read = asyncio.create_task(reading.text())
            began_s = time.monotonic()
        assert time.monotonic() - began_s < 2.5
        *_, last = (await read).splitlines()
        assert msgspec.json.decode(last)["cut"]["reason"] == "restarting"


async def test_odd_exports_are_refused(client: aiohttp.ClientSession) -> None:
    odd = ("after=-1", "after=NaN", "limit=0", "limit=100001", "limit=x", "after=1&after=2")
    for given in odd:
        async with client.get(f"/export.csv?{given}") as answer:
            assert (answer.status, (await answer.json())["code"]) == (400, "BAD_USER_INPUT"), given
    async with client.get("/export.exe") as answer:
        assert answer.status == 404
    async with client.head("/export.parquet") as answer:
        assert (answer.status, await answer.read()) == (200, b"")
