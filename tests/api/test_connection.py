"""`killmails` is walked in both directions and counted, in each of its orders."""

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from actors.shared.finding.walk import BUDGET
from actors.shared.settings import Settings
from api import search
from tests.api.filters.test_pages import MADE, Holds, Made, put
from tests.api.gateway import Writer, a_killmail, query

PAGE = """
query (
  $first: Int, $after: String, $last: Int, $before: String,
  $filter: KillmailFilter, $orderBy: KillmailOrder = time
) {
  killmails(
    first: $first, after: $after, last: $last, before: $before, filter: $filter, orderBy: $orderBy
  ) {
    edges { cursor node { killmailId } }
    pageInfo { hasPreviousPage hasNextPage startCursor endCursor }
  }
}
"""
TOTAL = "query ($filter: KillmailFilter) { killmails(first: 1, filter: $filter) { totalCount } }"
BY_IDS = (
    "query ($ids: [Long!]!) { killmailsByIds(ids: $ids) { killmailId victim { shipTypeName } } }"
)
NODE = "query ($id: ID!) { node(id: $id) { id __typename ... on Killmail { killmailId } } }"

LISTS: dict[str, tuple[dict[str, Any], str, Holds]] = {
    "by time": ({}, "time", lambda m: True),
    "by id": ({"minAttackers": 2}, "time", lambda m: len(m.mail["attackers"]) > 1),
    "by value": ({}, "value", lambda m: True),
    "by value, some": (
        {"role": "victim", "shipTypeId": 1},
        "value",
        lambda m: m.in_role("victim", ship_type_id=1),
    ),
}


@pytest.fixture
def settings(database_settings: dict[str, Any], tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, **database_settings)


def in_order(order: str, holds: Holds) -> list[int]:
    """The whole list."""

    def rank(one: Made) -> tuple[float, int]:
        value = one.total_value if order == "value" else 0.0
        return -1.0 if value is None else value, one.mail["killmail_id"]

    return [one.mail["killmail_id"] for one in sorted(MADE, key=rank, reverse=True) if holds(one)]


async def read(client: aiohttp.ClientSession, **given: Any) -> tuple[list[int], Any]:
    page = (await query(client, PAGE, **given))["data"]["killmails"]
    return [edge["node"]["killmailId"] for edge in page["edges"]], page


async def backwards(client: aiohttp.ClientSession, **given: Any) -> AsyncIterator[list[int]]:
    before = None
    while True:
        ids, page = await read(client, last=40, before=before, **given)
        yield ids
        assert page["pageInfo"]["hasNextPage"] is (before is not None)
        before = page["pageInfo"]["startCursor"]
        if not page["pageInfo"]["hasPreviousPage"]:
            return


async def test_the_same_list_is_walked_from_its_end(
    client: aiohttp.ClientSession, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(writer.database, MADE)
    for budget in (BUDGET, 1):  # the second ends each page as early as it may
        monkeypatch.setattr(search, "PAGE_BUDGET", budget)
        for name, (conditions, order, holds) in LISTS.items():
            given = {"filter": conditions, "orderBy": order}
            seen: list[int] = []
            async for ids in backwards(client, **given):
                seen = ids + seen
            assert seen == in_order(order, holds), (name, budget)


@pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)
async def test_any_part_between_two_cursors_is_read(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    await put(writer.database, MADE)
    random_ = random.Random(3)
    for name, (conditions, order, holds) in LISTS.items():
        given = {"filter": conditions, "orderBy": order}
        ids, page = await read(client, first=200, **given)
        assert ids == in_order(order, holds)
        cursors = [edge["cursor"] for edge in page["edges"]]
        for _ in range(8):
            begin, end = sorted(random_.sample(range(len(ids)), 2))
            count = random_.randint(1, 60)
            inside = ids[begin + 1 : end]
            bounds = {"after": cursors[begin], "before": cursors[end]}
            first, page = await read(client, first=count, **bounds, **given)
            assert first == inside[:count], name
            assert page["pageInfo"]["hasPreviousPage"]
            assert page["pageInfo"]["hasNextPage"]
            last, page = await read(client, last=count, **bounds, **given)
            assert last == inside[max(0, len(inside) - count) :], name
            assert page["pageInfo"]["hasPreviousPage"]
            assert page["pageInfo"]["hasNextPage"]
            if last:
                assert page["pageInfo"]["startCursor"] == page["edges"][0]["cursor"]
                assert page["pageInfo"]["endCursor"] == page["edges"][-1]["cursor"]


@pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)
async def test_what_lies_beside_a_page_is_known_exactly(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    await put(writer.database, MADE)
    for conditions, order, _ in LISTS.values():
        given = {"filter": conditions, "orderBy": order}
        ids, page = await read(client, first=200, **given)
        info = page["pageInfo"]
        assert (info["hasPreviousPage"], info["hasNextPage"]) == (False, False)
        after_all, page = await read(client, first=5, after=info["endCursor"], **given)
        info = page["pageInfo"]
        assert (after_all, info["hasPreviousPage"], info["hasNextPage"]) == ([], True, False)
        assert info["startCursor"] is None
        third = (await read(client, first=3, **given))[1]["edges"][2]["cursor"]
        some, page = await read(client, last=2, before=third, **given)
        info = page["pageInfo"]
        assert (some, info["hasPreviousPage"], info["hasNextPage"]) == (ids[:2], False, True)


async def test_total_is_exact_within_the_budget(
    client: aiohttp.ClientSession, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(writer.database, MADE)

    async def total(**conditions: Any) -> Any:
        answer = await query(client, TOTAL, filter=conditions)
        return answer["data"]["killmails"]["totalCount"]

    assert await total() == len(MADE)
    of_two = {"minAttackers": 2, "role": "victim", "shipTypeId": 1}
    expected = sum(
        m.in_role("victim", ship_type_id=1) and len(m.mail["attackers"]) > 1 for m in MADE
    )
    assert await total(**of_two) == expected > 5
    monkeypatch.setattr(search, "PAGE_BUDGET", 1)
    monkeypatch.setattr(search, "MAX_COUNTED", len(MADE) - 1)
    assert await total(**of_two) is None
    assert await total() is None


async def test_arguments_that_contradict_are_refused(client: aiohttp.ClientSession) -> None:
    for given, says in (
        ({"first": 1, "last": 1}, "either first or last"),
        ({"last": 0}, "last: must be 1 to 200"),
        ({"first": 201}, "first: must be 1 to 200"),
        ({"before": "nonsense"}, "not a cursor"),
        ({"after": "MTo5MjIzMzcyMDM2ODU0Nzc1ODA3"}, "not a cursor"),  # 1:9223372036854775807
        (
            {"after": "dmFsdWU6MHgxcDA6OTIyMzM3MjAzNjg1NDc3NTgwNw", "orderBy": "value"},
            "not a cursor",  # value:0x1p0:9223372036854775807
        ),
    ):
        (error,) = (await query(client, PAGE, **given))["errors"]
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
        assert says in error["message"]


async def test_killmails_by_ids_keep_their_order(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    await writer.store(*map(a_killmail, (1, 2, 3)))
    found = (await query(client, BY_IDS, ids=[3, 9, 1, 3]))["data"]["killmailsByIds"]
    assert [one and one["killmailId"] for one in found] == [3, None, 1, 3]
    assert found[0]["victim"] == {"shipTypeName": "Capsule"}
    assert (await query(client, BY_IDS, ids=[]))["data"]["killmailsByIds"] == []
    (error,) = (await query(client, BY_IDS, ids=list(range(201))))["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


@pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)
async def test_a_node_is_found_by_its_global_id(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    await writer.store(a_killmail(7))
    document = "{ killmail(id: 7) { id } }"
    id_ = (await query(client, document))["data"]["killmail"]["id"]
    node = (await query(client, NODE, id=id_))["data"]["node"]
    assert node == {"id": id_, "__typename": "Killmail", "killmailId": 7}
    for unknown in ("S2lsbG1haWw6OA", "Tm90aGluZzo3"):  # Killmail:8, Nothing:7
        assert (await query(client, NODE, id=unknown))["data"] == {"node": None}
    for senseless in ("", "!", "S2lsbG1haWw", "S2lsbG1haWw6OTk5OTk5OTk5OTk5OTk5OTk5OTk5OQ"):
        (error,) = (await query(client, NODE, id=senseless))["errors"]
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
