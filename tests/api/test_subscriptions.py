"""What a subscriber gets: each killmail once, in order, and after a break the rest."""

import aiohttp
import msgspec

from tests.api.gateway import Connection, Writer, a_killmail, connect

ON_NEW_KILLMAIL = (
    "subscription OnNewKillmail { killmailAdded "
    "{ killmailId killmailTime victim { characterName shipTypeName } } }"
)
ADDED = "subscription ($after: Long) { killmailAdded(after: $after) { killmailId sequence } }"
FEED = "subscription { feedAdded { sequence kind killmail { killmailId } } }"


async def sequences(connection: Connection, count: int) -> list[int]:
    results = [await connection.next() for _ in range(count)]
    return [next(iter(result.values()))["sequence"] for result in results]


async def test_subscription_as_promised(client: aiohttp.ClientSession, writer: Writer) -> None:
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


async def test_after_replays_then_goes_on_live(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    await writer.add(*range(1, 501))
    async with connect(client) as connection:
        await connection.subscribe(ADDED, after=100)
        assert await sequences(connection, 400) == list(range(101, 501))
        await writer.add(501)
        await writer.add(502)
        assert await sequences(connection, 2) == [501, 502]


async def test_corrections_come_only_on_the_feed(
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
            assert [(await other.next())["feedAdded"] for _ in range(3)] == [
                {"sequence": 1, "kind": "added", "killmail": {"killmailId": 1}},
                {"sequence": 2, "kind": "updated", "killmail": {"killmailId": 1}},
                {"sequence": 3, "kind": "added", "killmail": {"killmailId": 2}},
            ]


async def test_lost_message_is_read_from_the_table(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    async with connect(client) as connection:
        await connection.subscribe(ADDED)
        lost = await writer.store(a_killmail(1), a_killmail(2))
        await writer.mark(*lost)
        await writer.add(3)
        assert await sequences(connection, 3) == [1, 2, 3]


async def test_last_message_lost_is_found_when_quiet(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    async with connect(client) as connection:
        await connection.subscribe(ADDED)
        await writer.mark(*await writer.store(a_killmail(1)))
        assert await sequences(connection, 1) == [1]


async def test_messages_out_of_order_and_doubled_come_in_order_and_once(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    async with connect(client) as connection:
        await connection.subscribe(ADDED)
        entries = await writer.store(*map(a_killmail, range(1, 31)))
        for entry in reversed(entries):
            await writer.publish(entry, entries[-1])
        await writer.add(31)
        assert await sequences(connection, 31) == list(range(1, 32))


async def test_unpublished_entry_is_waited_for_and_comes_with_its_names(
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


async def test_teller_that_died_delays_and_loses_nothing(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    async with connect(client) as connection:
        await connection.subscribe(ADDED)
        await writer.store(a_killmail(1))
        await writer.add(2)
        assert await sequences(connection, 2) == [1, 2]
