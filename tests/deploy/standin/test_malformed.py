"""Files and packages whose maker erred: hashes, bodies and zkb."""

from typing import Any

import msgspec
import pytest

from tests.deploy.standin.conftest import Client, Start
from tests.deploy.standin.test_redisq import poll

FIRST = 96_000_000


async def file(client: Client, number: int = 0) -> Any:
    return await client.json(f"/ephemeral/{FIRST + number}.json")


@pytest.mark.parametrize("kind", ["space", "upper", "empty", "null", "wrong"])
async def test_hash_is_wrong_in_files_and_packages(start: Start, kind: str) -> None:
    client = await start(faults={"hash_wrong": (kind,)})
    document, package = await file(client), await poll(client)
    right = client.standin.dataset.killmails[0].killmail_hash
    given = document["hash"]
    assert given == document["zkb"]["hash"] == package["zkb"]["hash"]
    assert given != right
    assert {
        "space": given == right + " ",
        "upper": given == right.upper(),
        "empty": given == "",
        "null": given is None,
        "wrong": len(str(given)) == 40 and str(given).islower(),
    }[kind]
    assert (await client.stats())["faults"]["hash_wrong"] == 2


@pytest.mark.parametrize(
    ("kind", "body"),
    [("null", None), ("list", []), ("object", {}), ("text", ""), ("absent", msgspec.UNSET)],
)
async def test_file_without_a_body_can_be_fetched(start: Start, kind: str, body: Any) -> None:
    client = await start(faults={"body_wrong": (kind,)})
    document = await file(client)
    assert document.get("esi", msgspec.UNSET) == body
    fetched = await client.json(f"/killmails/{document['killmail_id']}/{document['hash']}/")
    assert fetched["killmail_id"] == document["killmail_id"]


async def test_zkb_is_an_empty_list(start: Start) -> None:
    client = await start(faults={"zkb_list_rate": 1.0})
    assert (await file(client))["zkb"] == []
    assert (await poll(client))["zkb"] == []


async def test_faults_hit_their_share_of_numbers_always_the_same_ones(start: Start) -> None:
    faults = {"body_wrong": ("null", "list"), "body_wrong_rate": 0.5}
    client, other = await start(faults=faults), await start(faults=faults)
    bodies = [(await file(client, n))["esi"] for n in range(20)]
    assert 3 < sum(not body for body in bodies) < 17
    assert bodies == [(await file(client, n))["esi"] for n in range(20)]
    assert bodies == [(await file(other, n))["esi"] for n in range(20)]
