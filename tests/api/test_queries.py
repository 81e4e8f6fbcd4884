"""Queries, over SQLite and over PostgreSQL alike."""

from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from actors.shared.settings import Settings
from tests.api.gateway import Writer, a_killmail, query

ZKB = {"locationID": 40_000_000_001, "hash": "b" * 40, "totalValue": 1.5e12, "npc": False}
ZKB |= {"labels": ["pvp", "loc:highsec"], "points": 3, "attackerCount": 1}

WHOLE = """
query ($id: Long!) {
  killmail(id: $id) {
    killmailId killmailHash killmailTime solarSystemId solarSystemName moonId warId
    attackerCount sequence
    victim {
      characterId characterName corporationId corporationName shipTypeId shipTypeName damageTaken
      position { x y z }
      items { itemTypeId flag singleton quantityDestroyed quantityDropped items { itemTypeId } }
    }
    attackers {
      characterId characterName allianceName shipTypeName weaponTypeId weaponTypeName
      finalBlow damageDone securityStatus
    }
    zkb { locationId hash totalValue fittedValue npc solo labels points attackerCount }
  }
}
"""
PAGE = """
query ($first: Int, $after: String) {
  killmails(first: $first, after: $after) {
    nodes { killmailId victim { shipTypeName } }
    edges { cursor }
    pageInfo { hasPreviousPage hasNextPage startCursor endCursor }
  }
}
"""
FEED = """
query ($after: Long!, $first: Int) {
  feed(after: $after, first: $first) {
    lastSequence
    entries { sequence kind storedAt killmail { killmailId sequence } }
  }
}
"""


def a_cursor(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.fixture
def settings(database_settings: dict[str, Any], tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, **database_settings)


async def test_killmail_has_every_field(client: aiohttp.ClientSession, writer: Writer) -> None:
    await writer.publish(*await writer.store(a_killmail(132_467_594), zkb=ZKB))
    answer = await query(client, WHOLE, id=132_467_594)
    assert answer == {
        "data": {
            "killmail": {
                "killmailId": 132_467_594,
                "killmailHash": "a" * 40,
                "killmailTime": "2277-11-12T09:14:00Z",
                "solarSystemId": 3,
                "solarSystemName": "Jita",
                "moonId": None,
                "warId": None,
                "attackerCount": 1,
                "sequence": None,
                "victim": {
                    "characterId": 1,
                    "characterName": "Ann",
                    "corporationId": None,
                    "corporationName": None,
                    "shipTypeId": 2,
                    "shipTypeName": "Capsule",
                    "damageTaken": 7,
                    "position": {"x": 1.5, "y": -2e12, "z": 0.0},
                    "items": [
                        {
                            "itemTypeId": 9,
                            "flag": 5,
                            "singleton": 0,
                            "quantityDestroyed": None,
                            "quantityDropped": 2**40,
                            "items": None,
                        }
                    ],
                },
                "attackers": [
                    {
                        "characterId": 4,
                        "characterName": "Bob",
                        "allianceName": None,
                        "shipTypeName": "Stabber",
                        "weaponTypeId": 6,
                        "weaponTypeName": "Gun",
                        "finalBlow": True,
                        "damageDone": 7,
                        "securityStatus": -1.5,
                    }
                ],
                "zkb": {
                    "locationId": 40_000_000_001,
                    "hash": "b" * 40,
                    "totalValue": 1.5e12,
                    "fittedValue": None,
                    "npc": False,
                    "solo": None,
                    "labels": ["pvp", "loc:highsec"],
                    "points": 3,
                    "attackerCount": 1,
                },
            }
        }
    }


async def test_unknown_killmail_is_null(client: aiohttp.ClientSession) -> None:
    assert await query(client, WHOLE, id=5) == {"data": {"killmail": None}}


async def test_pages_contain_every_killmail_once_newest_first(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    same_time = {"killmail_time": "2026-02-01T00:00:00Z"}
    await writer.store(*(a_killmail(n, **(same_time if n > 7 else {})) for n in range(1, 13)))
    seen: list[int] = []
    after: str | None = None
    while True:
        page: Any = (await query(client, PAGE, first=5, after=after))["data"]["killmails"]
        seen += [node["killmailId"] for node in page["nodes"]]
        assert page["nodes"][0]["victim"] == {"shipTypeName": "Capsule"}
        assert page["edges"][-1]["cursor"] == page["pageInfo"]["endCursor"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert seen == list(range(12, 0, -1))


async def test_empty_page_has_no_cursor(client: aiohttp.ClientSession) -> None:
    page = (await query(client, PAGE))["data"]["killmails"]
    assert set(page["pageInfo"].values()) == {False, None}


@pytest.mark.parametrize(
    "cursor", ["nonsense", "", "OjE", "MTox!", a_cursor("9" * 19 + ":1"), a_cursor("1:" + "9" * 19)]
)
async def test_invalid_cursor_is_rejected_with_a_message(
    client: aiohttp.ClientSession, cursor: str
) -> None:
    (error,) = (await query(client, PAGE, after=cursor))["errors"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT"}
    assert "not a cursor" in error["message"]


@pytest.mark.parametrize("first", [0, -1, 201])
async def test_page_size_has_limits(client: aiohttp.ClientSession, first: int) -> None:
    (error,) = (await query(client, PAGE, first=first))["errors"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT"}
    assert "1 to 200" in error["message"]


async def test_feed_returns_missed_entries(client: aiohttp.ClientSession, writer: Writer) -> None:
    await writer.add(10, 20, 30)
    await writer.add(20, kind="updated")
    page = (await query(client, FEED, after=1, first=2))["data"]["feed"]
    assert page["lastSequence"] == 4
    assert [(e["sequence"], e["kind"], e["killmail"]) for e in page["entries"]] == [
        (2, "added", {"killmailId": 20, "sequence": 2}),
        (3, "added", {"killmailId": 30, "sequence": 3}),
    ]
    page = (await query(client, FEED, after=3))["data"]["feed"]
    assert [(e["sequence"], e["kind"]) for e in page["entries"]] == [(4, "updated")]
