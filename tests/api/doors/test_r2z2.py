"""R2Z2's files."""

from datetime import date

import aiohttp
import msgspec
import pytest

from actors.shared.settings import Settings
from api import tail
from tests.api.gateway import Writer, a_killmail, serve

ODD = ("0", "-1", "4", "1e0", "NaN", "%D9%A1", "1%2F2", "9" * 19, "9" * 5000, "", "x")


async def test_files_are_as_upstream(client: aiohttp.ClientSession, writer: Writer) -> None:
    zkb = {"hash": "a" * 40, "totalValue": 5e6, "labels": ["pvp"]}
    (added,) = await writer.store(body := a_killmail(7).replace(b",", b",  "), zkb=zkb)
    await writer.publish(added)
    await writer.add(8)
    day = await writer.add_day(date(2015, 3, 1))
    async with client.get("/ephemeral/sequence.json") as answer:
        assert await answer.json() == {"sequence": 3}
        assert answer.headers["Cache-Control"] == "no-cache"
    async with client.get("/ephemeral/1.json") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert answer.headers["Cache-Control"] == "public, max-age=86400"
        assert body in await answer.read()
        assert await answer.json() == {
            "killmail_id": 7,
            "hash": "a" * 40,
            "esi": msgspec.json.decode(body),
            "zkb": zkb,
            "uploaded_at": int(added.stored_at),
            "sequence_id": 1,
        }
        etag = answer.headers["ETag"]
    async with client.get("/ephemeral/1.json", headers={"If-None-Match": etag}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")
    async with client.get("/ephemeral/2.json") as answer:
        assert "zkb" not in await answer.json()  # unknown here
    async with client.get("/ephemeral/3.json") as answer:
        assert await answer.json() == {
            "killmail_id": None,
            "hash": None,
            "esi": None,
            "zkb": {"hash": None, "href": "https://esi.evetech.net/killmails///"},
            "uploaded_at": int(day.stored_at),
            "sequence_id": 3,
        }


async def test_what_isnt_there_is_not_found(
    settings: Settings, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "RING_ENTRIES", 1)
    async with serve(settings) as address, aiohttp.ClientSession(address) as client:
        await writer.add(7, 8, 9)
        for odd in ODD:
            async with client.get(f"/ephemeral/{odd}.json") as answer:
                assert answer.status == 404, odd
        for number, killmail_id in ((1, 7), (3, 9)):  # from the table, from memory
            async with client.get(f"/ephemeral/{number}.json") as answer:
                assert (await answer.json())["killmail_id"] == killmail_id
        async with client.head("/ephemeral/1.json") as answer:
            assert (answer.status, await answer.read()) == (200, b"")
            assert int(answer.headers["Content-Length"]) > 100
        async with client.get("/ephemeral/4.json") as answer:
            assert answer.headers["Cache-Control"] == "no-store"


async def test_a_client_may_ask_so_often(settings: Settings, writer: Writer) -> None:
    few = settings.model_copy(update={"api_files_per_s": 15})
    async with serve(few) as address, aiohttp.ClientSession(address) as client:
        answers = [await client.get("/ephemeral/1.json") for _ in range(16)]
    assert [answer.status for answer in answers][:15] == [404] * 15
    assert (answers[15].status, answers[15].headers["Retry-After"]) == (429, "1")
