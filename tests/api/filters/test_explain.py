"""`explain` says which conditions of a filter a killmail meets."""

from typing import Any

import aiohttp
import msgspec

from actors.killmails.persist import read, store
from actors.shared.reference import encode_reference
from tests.api.gateway import Writer, query
from tests.support.made import a_body, a_reference, an_attacker

EXPLAIN = """
query ($id: Long!, $filter: KillmailFilter!) {
  explain(killmailId: $id, filter: $filter) { matches conditions { path met } }
}
"""


async def test_each_condition_is_explained(client: aiohttp.ClientSession, writer: Writer) -> None:
    attackers = [an_attacker(alliance_id=1), an_attacker(ship_type_id=2, final_blow=False)]
    zkb = msgspec.Raw(b'{"points": 3}')
    reference = a_reference(a_body(7, attackers=attackers), zkb=zkb)
    await store(writer.database, read([encode_reference(reference)])[0])

    async def explained(filter_: Any) -> tuple[bool | None, dict[str, bool | None]]:
        answer = await query(client, EXPLAIN, id=7, filter=filter_)
        explanation = answer["data"]["explain"]
        met = {one["path"]: one["met"] for one in explanation["conditions"]}
        return explanation["matches"], met

    assert await explained({"attacker": {"allianceId": 1, "shipTypeId": [2, 3]}}) == (
        False,
        {
            "filter.attacker.allianceId": True,
            "filter.attacker.shipTypeId": True,
            "filter.attacker": False,
        },
    )
    assert await explained(
        {"or": [{"minTotalValue": 5, "minPoints": 3}, {"not": {"minAttackers": 2}}]}
    ) == (
        None,
        {
            "filter.or[0].totalValue": None,
            "filter.or[0].points": True,
            "filter.or[1].not.attackers": True,
            "filter.or[1].not": False,
            "filter.or": None,
        },
    )
    assert await explained({"shipTypeId": 587, "characterId": 5}) == (
        False,
        {"filter.characterId/shipTypeId": False},
    )
    assert (await query(client, EXPLAIN, id=8, filter={}))["data"]["explain"] is None
    (error,) = (await query(client, EXPLAIN, id=7, filter={"npc": True}))["errors"]
    assert error["extensions"]["code"] == "UNIVERSE_UNKNOWN"
