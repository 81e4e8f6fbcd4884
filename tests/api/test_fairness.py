"""An operation as heavy as the limits let it be doesn't hold up others, nor does refusing one."""

import asyncio
import json
import time
from typing import Any

import aiohttp

from tests.api.gateway import Writer, a_killmail

MAX_WAIT_S = 0.25
"""Of computing, which is all in this process; the heavy query takes a second by itself."""
ATTACKER = {"damage_done": 7, "final_blow": False, "security_status": -1.5, "character_id": 4}
ALIASED = " ".join(f"a{number}: attackers {{ characterId }}" for number in range(55))
HEAVY = "query ($first: Int!) { feed(after: 0, first: $first) { entries { killmail { %s } } } }"
LIGHT = "{ killmails(first: 20) { nodes { killmailId victim { characterName } } } }"


async def post(client: aiohttp.ClientSession, document: str, **variables: Any) -> Any:
    return json.loads(await answer(client, document, **variables))


async def answer(client: aiohttp.ClientSession, document: str, **variables: Any) -> bytes:
    """Return it unread: the test shares the gateway's loop."""
    body = {"query": document, "variables": variables}
    async with client.post("/graphql", json=body) as response:
        return await response.read()


async def test_heavy_query_of_the_attack_holds_nobody_up(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    await writer.store(*(a_killmail(n, attackers=[ATTACKER] * 10) for n in range(1, 101)))
    refused = await post(client, HEAVY % ALIASED, first=1000)
    assert refused["errors"][0]["extensions"]["code"] == "TOO_COMPLEX"
    heavy = asyncio.create_task(answer(client, HEAVY % ALIASED, first=100))
    waits = []
    while not heavy.done():
        begun = time.process_time()
        light = await post(client, LIGHT)
        waits.append(time.process_time() - begun)
        assert len(light["data"]["killmails"]["nodes"]) == 20
    entries = json.loads(await heavy)["data"]["feed"]["entries"]
    assert len(entries) == 100
    assert entries[-1]["killmail"]["a54"] == [{"characterId": 4}] * 10
    assert len(waits) > 3, "others were answered meanwhile"
    assert max(waits) < MAX_WAIT_S


async def test_many_introspections_hold_nobody_up_and_are_paid_for(
    client: aiohttp.ClientSession,
) -> None:
    schema = "{ __schema { types { name description fields { name description type { name } } } } }"
    many = [asyncio.create_task(post(client, schema)) for _ in range(10)]
    begun = time.process_time()
    assert (await post(client, "{ __typename }"))["data"]
    assert time.process_time() - begun < 4 * MAX_WAIT_S
    for introspected in await asyncio.gather(*many):
        assert introspected["extensions"]["cost"]["operation"] > 2_000
