"""npc, solo and awox as zKillboard decides them."""

import gzip
from typing import Any

import msgspec
import pytest

from actors.shared.finding.facts import Fact, facts_of
from actors.shared.finding.universe import Ship
from actors.shared.killmail import parse_killmail
from deploy.standin.names import read_table
from tests.support.killmails import DATA, REAL, are_real
from tests.support.made import a_body, an_attacker

FRIGATE, CAPSULE, SHUTTLE, STRUCTURE = Ship(25, 6), Ship(29, 6), Ship(31, 6), Ship(1657, 65)
PLAYER, OTHER = {"character_id": 90_000_001}, {"character_id": 90_000_002}
NPC = {"character_id": 3_000_001, "corporation_id": 1_000_125}
DRIFTER = {"corporation_id": 1_000_274, "faction_id": 500_024}
TURRET = {"corporation_id": 98_000_001}
VICTIMS = 98_000_007

CASES: list[tuple[Ship, list[dict[str, Any]], set[str]]] = [
    (FRIGATE, [PLAYER], {"SOLO"}),
    (FRIGATE, [PLAYER, PLAYER], {"SOLO"}),
    (FRIGATE, [PLAYER, NPC, DRIFTER], {"SOLO"}),
    (FRIGATE, [PLAYER, OTHER], set()),
    (CAPSULE, [PLAYER], set()),
    (SHUTTLE, [PLAYER], set()),
    (STRUCTURE, [PLAYER], set()),
    (FRIGATE, [NPC, DRIFTER], {"NPC"}),
    (FRIGATE, [], {"NPC"}),
    (FRIGATE, [TURRET], set()),
    (FRIGATE, [PLAYER | {"corporation_id": VICTIMS}], {"SOLO", "AWOX"}),
    (CAPSULE, [PLAYER | {"corporation_id": VICTIMS}], set()),
    (SHUTTLE, [PLAYER | {"corporation_id": VICTIMS}], {"AWOX"}),
    (FRIGATE, [OTHER, PLAYER | {"corporation_id": VICTIMS, "final_blow": False}], set()),
]


@pytest.mark.parametrize(("ship", "attackers", "wanted"), CASES)
def test_facts_follow_from_who_attacked_what(
    ship: Ship, attackers: list[dict[str, Any]], wanted: set[str]
) -> None:
    victim = {"damage_taken": 1, "ship_type_id": 1, "corporation_id": VICTIMS}
    body = a_body(1, victim=victim, attackers=[an_attacker(**one) for one in attackers])
    assert {fact.name for fact in facts_of(parse_killmail(body), ship)} == wanted


def test_members_of_an_npc_corporation_do_not_betray_it() -> None:
    victim = {"damage_taken": 1, "ship_type_id": 1, "corporation_id": 1_000_044}
    attacker = an_attacker(**PLAYER, corporation_id=1_000_044)
    killmail = parse_killmail(a_body(1, victim=victim, attackers=[attacker]))
    assert set(facts_of(killmail, FRIGATE)) == {Fact.SOLO}


def test_facts_are_zkillboards_of_all_real_killmails_with_its_block() -> None:
    if not are_real():
        return  # they don't stand beside the project
    types: dict[Any, Any] = {
        row["id"]: row for row in read_table(DATA / "universe" / "types.json.gz")
    }
    groups: dict[Any, Any] = {
        row["id"]: row for row in read_table(DATA / "universe" / "groups.json.gz")
    }
    with gzip.open(DATA / "zkb.jsonl.gz") as file:
        blocks = {one["killID"]: one["zkb"] for one in map(msgspec.json.decode, file)}
    compared = 0
    with gzip.open(REAL) as file:
        for killmail in map(parse_killmail, file):
            type_ = types.get(killmail.victim.ship_type_id)
            if type_ is None or killmail.killmail_id not in blocks:
                continue
            ship = Ship(type_["group_id"], groups[type_["group_id"]]["category_id"])
            facts = {fact.name.lower() for fact in facts_of(killmail, ship)}
            block = blocks[killmail.killmail_id]
            assert facts == {name for name in ("npc", "solo", "awox") if block[name]}
            compared += 1
    assert compared > 200
