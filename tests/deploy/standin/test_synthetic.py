from datetime import UTC, datetime
from statistics import mean, median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.shared.killmail import Killmail, entity_ids, killmail_hash, parse_killmail
from deploy.standin.names import Names
from deploy.standin.synthetic import ENDLESS, SyntheticKillmails


@pytest.fixture(scope="module")
def made() -> list[tuple[bytes, Killmail]]:
    """5,000 of them, as bytes and parsed."""
    bodies = [played.body for played in SyntheticKillmails(5_000, 1, None, None)]
    return [(body, parse_killmail(body)) for body in bodies]


@given(st.integers(0, 2**32), st.integers(0, ENDLESS - 1))
def test_seed_and_index_give_the_same_killmail_with_its_real_hash(seed: int, index: int) -> None:
    played = SyntheticKillmails(ENDLESS, seed, None, None)[index]
    assert played == SyntheticKillmails(index + 1, seed, None, None)[index]
    killmail = parse_killmail(played.body)
    assert killmail.killmail_id == played.killmail_id
    assert killmail_hash(killmail) == played.killmail_hash
    assert int(killmail.killmail_time.timestamp()) == played.killed_at_s


@given(st.integers(0, ENDLESS - 1))
def test_id_leads_back_to_its_killmail(index: int) -> None:
    killmails = SyntheticKillmails(ENDLESS, 1, None, None)
    head = killmails.summary(index)
    played = killmails[index]
    assert killmails.find(head.killmail_id) is played
    assert head == (played.killmail_id, played.killed_at_s)


def test_other_seeds_and_indexes_give_other_killmails() -> None:
    one, two = SyntheticKillmails(3, 1, None, None), SyntheticKillmails(3, 2, None, None)
    assert len({played.body for played in (*one, *two)}) == 6


def test_unknown_ids_are_not_found() -> None:
    killmails = SyntheticKillmails(10, 1, None, None)
    ids = {played.killmail_id for played in killmails}
    around = range(min(ids) - 10, max(ids) + 10)
    assert {id_ for id_ in around if killmails.find(id_)} == ids


def test_ids_and_times_ascend(made: list[tuple[bytes, Killmail]]) -> None:
    ids = [killmail.killmail_id for _, killmail in made]
    times = [killmail.killmail_time for _, killmail in made]
    assert ids == sorted(set(ids))
    assert times == sorted(times)


def test_kills_begin_when_told_and_come_at_the_rate() -> None:
    begin = datetime(2026, 5, 1, 12, tzinfo=UTC)
    killmails = SyntheticKillmails(100, 1, begin, 2.0)
    assert killmails[0].killed_at_s == begin.timestamp()
    assert killmails[99].killed_at_s == begin.timestamp() + 49


def test_attackers_are_as_many_as_in_real_killmails(made: list[tuple[bytes, Killmail]]) -> None:
    counts = [len(killmail.attackers) for _, killmail in made]
    assert 4.3 < mean(counts) < 6.0
    assert median(counts) == 2
    assert 0.42 < counts.count(1) / len(counts) < 0.50
    assert max(counts) > 150


def test_items_and_bytes_are_as_many_as_in_real_killmails(
    made: list[tuple[bytes, Killmail]],
) -> None:
    counts = [len(killmail.victim.items or ()) for _, killmail in made]
    assert 14 < mean(counts) < 19
    assert 0.24 < counts.count(0) / len(counts) < 0.30
    assert 2_000 < mean(len(body) for body, _ in made) < 2_700


def test_oddities_come_about_as_often_as_in_real_killmails(
    made: list[tuple[bytes, Killmail]],
) -> None:
    killmails = [killmail for _, killmail in made]
    nested = sum(any(item.items for item in k.victim.items or ()) for k in killmails)
    structures = sum(k.victim.character_id is None for k in killmails)
    npc_only = sum(all(a.character_id is None for a in k.attackers) for k in killmails)
    attackers = [attacker for k in killmails for attacker in k.attackers]
    assert 0.004 < nested / len(killmails) < 0.012
    assert 0.012 < structures / len(killmails) < 0.025
    assert 0.12 < npc_only / len(killmails) < 0.18
    assert 0.90 < sum(a.weapon_type_id is not None for a in attackers) / len(attackers) < 0.97
    assert all(sum(a.final_blow for a in k.attackers) == 1 for k in killmails)
    assert all(sum(a.damage_done for a in k.attackers) == k.victim.damage_taken for k in killmails)


def test_hour_of_day_follows_the_players() -> None:
    killmails = SyntheticKillmails(15_000, 1, None, None)
    hours = [killmails.summary(index).killed_at_s // 3_600 % 24 for index in range(15_000)]
    assert 0.06 < hours.count(19) / len(hours) < 0.08
    assert 0.015 < hours.count(11) / len(hours) < 0.027


def test_every_id_has_a_name(made: list[tuple[bytes, Killmail]]) -> None:
    names = Names({})
    assert all(names.find(id_) for _, killmail in made for id_ in entity_ids(killmail))
