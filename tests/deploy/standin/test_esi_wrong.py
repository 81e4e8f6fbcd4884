"""ESI that is wrong without saying so: refusals of good killmails, nonsense with 200, names."""

import msgspec
import pytest

from tests.deploy.standin.conftest import Answer, Client, Clock, Start
from tests.deploy.standin.shapes import check


async def killmail(client: Client, index: int = 0) -> Answer:
    played = client.standin.dataset.killmails[index]
    return await client.get(f"/killmails/{played.killmail_id}/{played.killmail_hash}/")


@pytest.mark.parametrize("kind", ["404", "422"])
async def test_good_killmail_is_refused_for_a_while(start: Start, clock: Clock, kind: str) -> None:
    client = await start()
    await client.ask("PUT", "/standin/faults?for_s=120", json={"esi_wrong": [kind]})
    answer = await killmail(client)
    assert answer.status == int(kind)
    check(answer.body, "Error")
    clock.now_s += 120
    assert (await killmail(client)).status == 200


@pytest.mark.parametrize("kind", ["html", "empty", "cut"])
async def test_what_comes_with_200_is_no_killmail(start: Start, kind: str) -> None:
    client = await start(faults={"esi_wrong": (kind,)})
    answer = await killmail(client)
    assert answer.status == 200
    assert (answer.content_type == "text/html") is (kind == "html")
    assert (answer.body == b"") is (kind == "empty")
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(answer.body)


async def test_wrong_answers_come_at_their_rate_in_all_kinds(start: Start) -> None:
    faults = {"esi_wrong": ("422", "html"), "esi_wrong_rate": 0.5}
    client = await start(faults=faults)
    answers = [await killmail(client) for _ in range(60)]
    kinds = [(answer.status, answer.content_type) for answer in answers]
    assert set(kinds) == {
        (200, "application/json"),
        (200, "text/html"),
        (422, "application/json"),
    }
    assert (await client.stats())["faults"]["esi_wrong"] == 60 - kinds.count(
        (200, "application/json")
    )


async def test_single_killmails_have_one_answer_for_ever(start: Start) -> None:
    client = await start()
    first, second, *_ = await client.json("/standin/killmails")
    await client.switch(esi_killmail_status={first: 403, second: 301})
    for _ in range(2):
        assert (await killmail(client, 0)).status == 403
        moved = await killmail(client, 1)
        assert (moved.status, (await client.get(moved.headers["Location"])).status) == (301, 404)
        assert (await killmail(client, 2)).status == 200


async def test_names_of_characters_and_corporations_are_refused(start: Start, clock: Clock) -> None:
    client = await start()
    await client.ask("PUT", "/standin/faults?for_s=20", json={"names_refused": True})
    statuses = []
    for ids in ([587], [98_000_001, 587], [90_000_001], [99_000_001]):
        answer = await client.ask("POST", "/universe/names", json=ids)
        statuses.append(answer.status)
    assert statuses == [200, 404, 404, 200]
    clock.now_s += 20
    assert (await client.ask("POST", "/universe/names", json=[90_000_001])).status == 200


async def test_pilot_is_renamed(start: Start) -> None:
    client = await start()
    before = (await client.ask("POST", "/universe/names", json=[90_000_001])).json()
    await client.switch(renamed={"90000001": "New Name"})
    after = (await client.ask("POST", "/universe/names", json=[90_000_001, 90_000_002])).json()
    assert after[0] == before[0] | {"name": "New Name"} != before[0]
    assert after[1]["name"] != "New Name"
