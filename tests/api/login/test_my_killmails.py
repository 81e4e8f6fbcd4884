"""`myKillmails`: one's own killmails, those included whose publication is delayed."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from sqlalchemy import Select

from api.database import ReadDatabase
from api.users import killmails
from tests.api.gateway import Writer, a_killmail
from tests.api.login.browser import ON_BOTH, Gateway, code_of, program
from tests.api.login.own_killmails import delay, list_killmails, mine

AS_THEY_STAND = (
    "{ myKillmails(limit: 20) { killmailId killmailTime victim { characterId shipTypeId } } }"
)


@ON_BOTH
async def test_own_killmails_come_newest_first_delayed_ones_too(
    gateway: Gateway, writer: Writer
) -> None:
    async with program(gateway) as asked, program(gateway) as other:
        await asked.log_in(0)
        await other.log_in(1)
        own, foreign = gateway.character(0).character_id, gateway.character(1).character_id
        await writer.store(*map(a_killmail, (1, 3, 5, 6)))
        await delay(gateway, 2, 4)
        await list_killmails(gateway, own, 1, 2, 3, 5)
        await list_killmails(gateway, foreign, 4, 6)
        rows = (await asked.query(AS_THEY_STAND))["data"]["myKillmails"]
        assert [row["killmailId"] for row in rows] == [5, 3, 2, 1]
        assert rows[2] == {
            "killmailId": 2,
            "killmailTime": "2026-01-01T00:02:00Z",
            "victim": {"characterId": 1, "shipTypeId": 2},
        }
        assert await mine(other) == [6, 4]
        limited = await asked.query("{ myKillmails(limit: 2) { victim { shipTypeName } } }")
        assert limited["data"]["myKillmails"] == [{"victim": {"shipTypeName": "Capsule"}}] * 2
        for limit in (0, 201):
            answer = await asked.query(f"{{ myKillmails(limit: {limit}) {{ killmailId }} }}")
            assert code_of(answer) == "BAD_USER_INPUT"


async def test_delayed_killmail_that_is_public_by_now_comes_once(
    gateway: Gateway, writer: Writer
) -> None:
    async with program(gateway) as asked:
        await asked.log_in()
        await delay(gateway, 1)
        await writer.store(a_killmail(1))
        await list_killmails(gateway, gateway.character().character_id, 1)
        assert await mine(asked) == [1]


@ON_BOTH
async def test_own_killmails_can_be_filtered(gateway: Gateway, writer: Writer) -> None:
    async with program(gateway) as asked:
        await asked.log_in(0)
        await asked.log_in(1)
        one, two = gateway.character(0).character_id, gateway.character(1).character_id
        lost = {"victim": msgspec.json.decode(a_killmail(1))["victim"] | {"character_id": one}}
        await writer.store(a_killmail(1, **lost), a_killmail(2))
        await delay(gateway, 3, **lost)
        await delay(gateway, 4)
        await list_killmails(gateway, one, 1, 3)
        await list_killmails(gateway, two, 2, 4)
        assert await mine(asked) == [4, 3, 2, 1]
        assert await mine(asked, characterId=two) == [4, 2]
        assert await mine(asked, kind="loss") == [3, 1]
        assert await mine(asked, kind="kill") == [4, 2]
        assert await mine(asked, since="2026-01-01T00:02:00Z") == [4, 3, 2]
        assert await mine(asked, before="2026-01-01T00:03:00Z") == [2, 1]


@pytest.fixture
def bodies_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many delayed bodies each read brought."""
    counts: list[int] = []
    fetch_all = ReadDatabase.fetch_all

    async def record(self: ReadDatabase, query: Select[Any]) -> Sequence[Any]:
        rows = await fetch_all(self, query)
        if "delayed.reference" in str(query):
            counts.append(len(rows))
        return rows

    monkeypatch.setattr(ReadDatabase, "fetch_all", record)
    return counts


@ON_BOTH
async def test_no_more_delayed_bodies_are_read_than_are_asked_for(
    gateway: Gateway, bodies_read: list[int]
) -> None:
    async with program(gateway) as asked:
        await asked.log_in()
        ids = range(1, 21)
        await delay(gateway, *ids)
        await list_killmails(gateway, gateway.character().character_id, *ids)
        answer = await asked.query("{ myKillmails(limit: 3) { killmailId } }")
        assert [one["killmailId"] for one in answer["data"]["myKillmails"]] == [20, 19, 18]
        assert bodies_read == [3]
        bodies_read.clear()
        in_time = {"since": "2026-01-01T00:05:00Z", "before": "2026-01-01T00:08:00Z"}
        assert await mine(asked, **in_time) == [7, 6, 5]
        assert bodies_read == [3]


@ON_BOTH
async def test_losses_among_the_delayed_are_found_page_by_page(
    gateway: Gateway, bodies_read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(killmails, "PAGE", 2)
    async with program(gateway) as asked:
        await asked.log_in()
        own = gateway.character().character_id
        lost = {"victim": msgspec.json.decode(a_killmail(1))["victim"] | {"character_id": own}}
        await delay(gateway, 1, 2, 5, 7, **lost)
        await delay(gateway, 3, 4, 6)
        await list_killmails(gateway, own, *range(1, 8))
        assert await mine(asked, kind="loss") == [7, 5, 2, 1]
        assert bodies_read == [2, 2, 2, 1]
        assert await mine(asked, kind="kill") == [6, 4, 3]
        bodies_read.clear()
        document = "{ myKillmails(limit: 2, filter: {kind: loss}) { killmailId } }"
        answer = await asked.query(document)
        assert [one["killmailId"] for one in answer["data"]["myKillmails"]] == [7, 5]
        assert bodies_read == [2, 2]


async def test_killmail_that_is_published_between_two_reads_is_not_missed(
    gateway: Gateway, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_all = ReadDatabase.fetch_all

    async def publish_after_the_first(self: ReadDatabase, query: Select[Any]) -> Sequence[Any]:
        rows = await fetch_all(self, query)
        if "user_killmails" in str(query) and writer.last == 0:
            await writer.store(a_killmail(1))
        return rows

    monkeypatch.setattr(ReadDatabase, "fetch_all", publish_after_the_first)
    async with program(gateway) as asked:
        await asked.log_in()
        await delay(gateway, 1)
        await list_killmails(gateway, gateway.character().character_id, 1)
        assert await mine(asked) == [1]
    assert writer.last == 1
