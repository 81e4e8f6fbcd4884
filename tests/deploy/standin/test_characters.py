import asyncio
import threading
from itertools import islice
from typing import Any

import msgspec
import pytest

from deploy.standin.characters import READ_OF_LONGER, Character, Characters
from deploy.standin.names import Names
from deploy.standin.synthetic import ENDLESS, SyntheticKillmails
from tests.deploy.standin.conftest import Start
from tests.deploy.standin.sso.client import query


def characters(count: int = 300) -> Characters:
    return Characters(SyntheticKillmails(count, 1, None, None), Names({}))


@pytest.mark.parametrize(
    "path", ["/v2/oauth/authorize", "/characters/1", "/corporations/1", "/standin/characters"]
)
async def test_other_requests_are_answered_while_killmails_are_read_for_them(
    start: Start, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    reading, may_end = threading.Event(), threading.Event()
    read = Characters._oldest_first

    def slowly(cast: Characters) -> Any:
        reading.set()
        may_end.wait(10)
        return read(cast)

    monkeypatch.setattr(Characters, "_oldest_first", slowly)
    client = await start()
    asked = asyncio.create_task(client.get(path, params=query() if "authorize" in path else {}))
    assert await asyncio.to_thread(reading.wait, 10)
    assert (await client.get("/ephemeral/sequence.json")).status == 200
    assert not asked.done()
    may_end.set()
    assert (await asked).status < 500


def test_same_dataset_has_the_same_characters() -> None:
    assert characters().all(1_000_000) == characters().all(1_000_000)


def test_characters_are_those_of_the_killmails_as_of_their_newest() -> None:
    newest = {}
    for one in SyntheticKillmails(300, 1, None, None):
        killmail = msgspec.json.decode(one.body)
        for side in (killmail["victim"], *killmail["attackers"]):
            if "character_id" in side:
                newest[side["character_id"]] = (side["corporation_id"], side.get("alliance_id"))
    found = {
        one.character_id: (one.corporation_id, one.alliance_id)
        for one in characters().all(1_000_000)
    }
    assert found == newest


def test_those_with_most_killmails_come_first() -> None:
    played = [one.body for one in SyntheticKillmails(300, 1, None, None)]
    counts = [
        sum(b'"character_id":%d,' % one.character_id in body for body in played)
        for one in islice(characters().all(1_000_000), 50)
    ]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 1


def test_each_corporation_of_players_has_one_director() -> None:
    cast = characters()
    corporations = {one.corporation_id for one in cast.all(1_000_000)}
    assert len(corporations) > 10
    members = [cast.members(corporation_id) for corporation_id in corporations]
    assert {sum(one.is_director for one in some) for some in members} == {1}
    assert max(map(len, members)) > 1
    assert sum(map(len, members)) == len(cast.all(1_000_000))


def test_unknown_ids_have_no_character() -> None:
    cast = characters(5)
    assert cast.get(1) is None
    assert cast.members(1) == []
    (first,) = cast.all(1)
    assert isinstance(cast.get(first.character_id), Character)


def test_dataset_without_end_is_read_to_a_bound() -> None:
    class Counting(SyntheticKillmails):
        read = 0

        def __getitem__(self, index: int, /):  # type: ignore[no-untyped-def]
            raise AssertionError

        def __iter__(self):  # type: ignore[no-untyped-def]
            for self.read, one in enumerate(super().__iter__(), 1):
                yield one

    killmails = Counting(ENDLESS, 1, None, None)
    assert Characters(killmails, Names({})).all(1)
    assert killmails.read <= READ_OF_LONGER + 1


@pytest.mark.parametrize("limit", ["x", "-1"])
async def test_wrong_limit_of_characters_is_refused(start: Start, limit: str) -> None:
    client = await start()
    assert (await client.get(f"/standin/characters?limit={limit}")).status == 400
