"""What a subscriber gets: each killmail once, in order, and after a break the rest."""

from datetime import date
from typing import Any, NoReturn

import aiohttp
import msgspec
import pytest
from sqlalchemy import delete

from actors.shared.settings import Settings
from actors.shared.tables import FEED as FEED_TABLE
from api.database import open_read_database
from api.reads import feed_page
from tests.api.gateway import Connection, Writer, a_killmail, connect

ON_NEW_KILLMAIL = (
    "subscription OnNewKillmail { killmailAdded "
    "{ killmailId killmailTime victim { characterName shipTypeName } } }"
)
ADDED = "subscription ($after: Long) { killmailAdded(after: $after) { killmailId sequence } }"
REPLAY = "subscription { killmailAdded(after: 0) { killmailId } }"
FEED = (
    "subscription ($after: Long) { killmailFeed(after: $after) { kind: __typename"
    " ... on KillmailAdded { sequence killmail { killmailId } }"
    " ... on KillmailUpdated { sequence killmail { killmailId } }"
    " ... on DayImported { sequence day { day source added total } } } }"
)


async def sequences(connection: Connection, count: int) -> list[int]:
    results = [await connection.next() for _ in range(count)]
    return [next(iter(result.values()))["sequence"] for result in results]


async def test_subscription_of_the_readme(client: aiohttp.ClientSession, writer: Writer) -> None:
    async with connect(client) as connection:
        await connection.subscribe(ON_NEW_KILLMAIL)
        await writer.add(77)
        assert await connection.next() == {
            "killmailAdded": {
                "killmailId": 77,
                "killmailTime": "2026-01-01T01:17:00Z",
                "victim": {"characterName": "Ann", "shipTypeName": "Capsule"},
            }
        }


async def test_after_replays_then_continues_live(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    await writer.add(*range(1, 501))
    async with connect(client) as connection:
        await connection.subscribe(ADDED, after=100)
        assert await sequences(connection, 400) == list(range(101, 501))
        await writer.add(501)
        await writer.add(502)
        assert await sequences(connection, 2) == [501, 502]


async def test_corrections_are_sent_only_by_killmail_feed(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    async with connect(client) as connection:
        await connection.subscribe(ADDED)
        async with connect(client) as other:
            await other.subscribe(FEED)
            await writer.add(1)
            await writer.add(1, kind="updated")
            await writer.add(2)
            assert await sequences(connection, 2) == [1, 3]
            assert [(await other.next())["killmailFeed"] for _ in range(3)] == [
                {"sequence": 1, "kind": "KillmailAdded", "killmail": {"killmailId": 1}},
                {"sequence": 2, "kind": "KillmailUpdated", "killmail": {"killmailId": 1}},
                {"sequence": 3, "kind": "KillmailAdded", "killmail": {"killmailId": 2}},
            ]


async def test_an_imported_day_is_an_entry_without_a_killmail(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    day = {"day": "2015-03-01", "source": "everef", "added": 7, "total": 9}
    wanted = [
        {"sequence": 1, "kind": "KillmailAdded", "killmail": {"killmailId": 1}},
        {"sequence": 2, "kind": "DayImported", "day": day},
        {"sequence": 3, "kind": "KillmailAdded", "killmail": {"killmailId": 2}},
    ]
    async with connect(client) as live, connect(client) as late, connect(client) as plain:
        await live.subscribe(FEED)
        await plain.subscribe(ADDED)
        await writer.add(1)
        await writer.add_day(date(2015, 3, 1))
        await writer.add(2)
        assert [(await live.next())["killmailFeed"] for _ in range(3)] == wanted
        assert await sequences(plain, 2) == [1, 3]
        await late.subscribe(FEED, after=0)
        assert [(await late.next())["killmailFeed"] for _ in range(3)] == wanted


async def test_the_feed_table_has_imported_days(settings: Settings, writer: Writer) -> None:
    await writer.add(1)
    entry = await writer.add_day(date(2015, 3, 1))
    async with open_read_database(settings) as database:
        views = await feed_page(database, 0, 10)
    assert [view.sequence for view in views] == [1, 2]
    assert views[1].entry == msgspec.structs.replace(entry, stored_at=views[1].entry.stored_at)


@pytest.mark.parametrize("origin", ["sync", "import"])
async def test_old_killmails_of_syncs_and_imports_are_no_news(
    client: aiohttp.ClientSession, writer: Writer, origin: str
) -> None:
    await writer.add(1, origin=origin)  # killed in January
    await writer.add(2)
    async with connect(client) as connection:
        await connection.subscribe(ADDED, after=0)  # read from the table
        assert await sequences(connection, 1) == [2]
        await writer.add(3, origin=origin)  # from the channel
        await writer.add(4)
        assert await sequences(connection, 1) == [4]


async def test_max_age_asks_for_old_killmails(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    await writer.add(1, origin="import")
    async with connect(client) as connection:
        await connection.subscribe(
            "subscription { killmailAdded(after: 0, maxAge: 36500) { sequence } }"
        )
        assert await sequences(connection, 1) == [1]
    async with connect(client) as connection:
        refused = {"query": "subscription { killmailAdded(maxAge: -1) { sequence } }"}
        await connection.socket.send_json({"type": "subscribe", "id": "1", "payload": refused})
        answer = await connection.socket.receive_json()
    assert answer["type"] == "error"
    assert answer["payload"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_lost_message_is_read_from_the_table(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    async with connect(client) as connection:
        await connection.subscribe(ADDED)
        lost = await writer.store(a_killmail(1), a_killmail(2))
        await writer.mark(*lost)
        await writer.add(3)
        assert await sequences(connection, 3) == [1, 2, 3]


async def test_lost_last_message_is_read_from_the_table_while_the_channel_is_silent(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    async with connect(client) as connection:
        await connection.subscribe(ADDED)
        await writer.mark(*await writer.store(a_killmail(1)))
        assert await sequences(connection, 1) == [1]


async def test_reordered_and_duplicate_messages_are_delivered_in_order_and_once(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    async with connect(client) as connection:
        await connection.subscribe(ADDED)
        entries = await writer.store(*map(a_killmail, range(1, 31)))
        for entry in reversed(entries):
            await writer.publish(entry, entries[-1])
        await writer.add(31)
        assert await sequences(connection, 31) == list(range(1, 32))


async def test_unpublished_entry_is_delivered_with_its_names_after_publishing(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    async with connect(client) as connection:
        await connection.subscribe(ON_NEW_KILLMAIL)
        (late,) = await writer.store(a_killmail(1, victim={"damage_taken": 0, "ship_type_id": 99}))
        await writer.add(2)
        await writer.publish(msgspec.structs.replace(late, names={99: "Told in time"}))
        first = (await connection.next())["killmailAdded"]
        assert first["victim"]["shipTypeName"] == "Told in time"
        assert (await connection.next())["killmailAdded"]["killmailId"] == 2


async def test_publisher_that_died_delays_entries_and_loses_none(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    async with connect(client) as connection:
        await connection.subscribe(ADDED)
        await writer.store(a_killmail(1))
        await writer.add(2)
        assert await sequences(connection, 2) == [1, 2]


async def test_failing_source_ends_its_subscription_with_an_error_and_frees_the_id(
    client: aiohttp.ClientSession, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: Any, _after: int) -> NoReturn:
        raise TimeoutError("a secret of ours")

    await writer.add(1)
    async with connect(client) as connection:
        await connection.subscribe(ON_NEW_KILLMAIL, "other")
        for function in ("api.subscriptions.check_after", "api.tail.Tail.read"):
            with monkeypatch.context() as patched:
                patched.setattr(function, fail)
                await connection.socket.send_json(
                    {"type": "subscribe", "id": "1", "payload": {"query": REPLAY}}
                )
                message = await connection.socket.receive_json(timeout=5)
            assert (message["type"], message["id"]) == ("error", "1")
            (error,) = message["payload"]
            assert error["extensions"] == {"code": "INTERNAL"}
            assert "secret" not in error["message"]
        await connection.subscribe(ADDED)
        await writer.add(2)
        ids = [(await connection.socket.receive_json(timeout=5))["id"] for _ in range(2)]
        assert sorted(ids) == ["1", "other"]


async def test_id_can_be_reused_after_its_last_message(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    await writer.store(a_killmail(1))
    async with connect(client) as connection:
        for _ in range(50):
            payload = {"query": "{ killmail(id: 1) { killmailId } }"}
            await connection.socket.send_json({"type": "subscribe", "id": "1", "payload": payload})
            assert await connection.next() == {"killmail": {"killmailId": 1}}
            assert (await connection.socket.receive_json(timeout=5))["type"] == "complete"


async def test_a_cursor_before_the_feeds_beginning_ends_the_subscription_and_says_where_it_begins(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    await writer.add(1, 2, 3)
    async with writer.database.begin() as connection:  # as an operator may do by hand
        await connection.execute(delete(FEED_TABLE).where(FEED_TABLE.c.sequence < 3))
    query = (
        "subscription { killmailFeed(after: 1) { ... on KillmailAdded { added: sequence }"
        " ... on CursorTooOld { sequence firstSequence } } }"
    )
    async with connect(client) as opened:
        socket = opened.socket
        await socket.send_json({"type": "subscribe", "id": "1", "payload": {"query": query}})
        assert await opened.next() == {"killmailFeed": {"sequence": 1, "firstSequence": 3}}
        assert await socket.receive_json(timeout=5) == {"type": "complete", "id": "1"}
        query = query.replace("after: 1", "after: 2")
        await socket.send_json({"type": "subscribe", "id": "1", "payload": {"query": query}})
        assert await opened.next() == {"killmailFeed": {"added": 3}}
