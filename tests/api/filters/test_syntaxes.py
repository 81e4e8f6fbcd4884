"""Each syntax of filters reads what it writes, and refuses what isn't its own."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import api
from actors.shared.finding.tree import Tree
from api.errors import BadInput
from api.filters.bounds import Given, check_bounds
from api.filters.build import build
from api.filters.redisq import KEYS, filter_of_string, string_of_filter
from api.filters.rest import PARAMETERS, filter_of_query, query_of_filter
from api.filters.syntax import read_json, write_json
from tests.api.filters.given import FILTERS, KNOWN

quick = settings(max_examples=60, deadline=None, database=None, derandomize=True)


def tree_of(one: Given) -> Tree:
    check_bounds(one)
    return build(one, KNOWN).tree


def read(filter_: Any) -> Given:
    return read_json(msgspec.json.encode(filter_).decode())


@quick
@given(FILTERS)
def test_json_reads_what_it_writes(filter_: Any) -> None:
    one = read(filter_)
    assert tree_of(read_json(write_json(one))) == tree_of(one)


@quick
@given(FILTERS)
def test_parameters_read_what_they_write(filter_: Any) -> None:
    one = read(filter_)
    parameters = query_of_filter(one)
    assert tree_of(filter_of_query(parameters)) == tree_of(one)
    assert query_of_filter(filter_of_query(parameters)) == parameters


VALUES = {
    "labels": st.sampled_from(["pvp", "loc:nullsec", "#:5+", "a>=b"]),
    "killmail_time": st.datetimes().map(
        lambda time: f"{time:%Y}".zfill(4) + f"{time:-%m-%dT%H:%M:%SZ}"
    ),
    **dict.fromkeys(("npc", "solo", "awox"), st.sampled_from(["true", "false", "1", "0"])),
}
NUMBERS = ("totalValue", "destroyedValue", "droppedValue", "fittedValue", "points")


@st.composite
def rules(draw: st.DrawFn) -> str:
    key = draw(st.sampled_from(KEYS))
    number = st.integers(0, 2**36).map(str)
    values = number | st.floats(0, 1e15).map(str) if key in NUMBERS else number
    operators = ["="]
    if key in (*NUMBERS, "attackerCount", "killmail_time"):
        operators = ["=", "!=", "<", "<=", ">", ">="]
    elif key in ("npc", "solo", "awox", "solar_system_id"):
        operators = ["=", "!="]
    value = draw(VALUES.get(key, values))
    return f"{key}{draw(st.sampled_from(operators))}{value}"


@quick
@given(st.lists(rules(), min_size=1, max_size=4), st.sampled_from(";,"))
def test_redisqs_strings_read_what_they_write(some: list[str], separator: str) -> None:
    one = filter_of_string(separator.join(some))
    text = string_of_filter(one)
    assert text is not None
    assert tree_of(filter_of_string(text)) == tree_of(one)


@quick
@given(FILTERS)
def test_no_other_filter_is_written_as_redisqs_string(filter_: Any) -> None:
    one = read(filter_)
    text = string_of_filter(one)
    assert text is None or tree_of(filter_of_string(text)) == tree_of(one)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (
            "alliance_id=99;totalValue>=1e9",
            {"and": [{"anyone": {"allianceId": 99}}, {"minTotalValue": 1e9}]},
        ),
        (
            " weapon_type_id = 5 , labels=pvp",
            {"or": [{"attacker": {"weaponTypeId": 5}}, {"label": "pvp"}]},
        ),
        ("points<3", {"not": {"minPoints": 3}}),
        ("solo!=true", {"solo": False}),
        ("killmail_time>2026-01-01T00:00:00Z", {"since": "2026-01-01T00:00:01Z"}),
        ("solar_system_id!=30000142", {"not": {"location": {"solarSystemId": 30_000_142}}}),
    ],
)
def test_what_redisqs_rules_mean(text: str, same: Any) -> None:
    assert tree_of(filter_of_string(text)) == tree_of(read(same))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("position=1", "the key position isn't supported; these are: character_id, "),
        ("a=1;b=2,c=3", "`;` (and) and `,` (or) can't be in one filter"),
        ("alliance_id=1,2", "'2' isn't a key, an operator and a value"),
        ("", "'' isn't a key"),
        ("character_id!=1", "character_id!=: only = is supported"),
        ("totalValue>=nan", "totalValue: 'nan' isn't a number"),
        ("totalValue>=1e999", "isn't a number"),
        ("attackerCount>1.5", "isn't an integer"),
        ("npc=maybe", "npc=maybe: must be npc=true or npc=false"),
        ("killmail_time>2026-02-30T00:00:00Z", "isn't a time"),
        ("killmail_time<=9999-12-31T23:59:59Z", "out of range"),
        ("ship_type_id=", "ship_type_id: '' isn't an id"),
        ("labels=" + "x" * 5_000, "more than 4000 characters"),
    ],
)
def test_redisqs_other_strings_are_refused(text: str, message: str) -> None:
    with pytest.raises(BadInput) as error:
        filter_of_string(text)
    assert message in error.value.message


def test_parameters_are_flat_and_lists_have_commas() -> None:
    asked = [
        ("victim.shipGroupId", "100,101"),
        ("label", "pvp"),
        ("label", "loc:nullsec"),
        ("location.near.solarSystemId", "3"),
        ("location.near.jumps", "1"),
        ("npc", "false"),
        ("minTotalValue", "1e9"),
        ("filter", '{"not": {"warId": 7}}'),
    ]
    same = {
        "victim": {"shipGroupId": [100, 101]},
        "label": ["pvp", "loc:nullsec"],
        "location": {"near": {"solarSystemId": 3, "jumps": 1}},
        "npc": False,
        "minTotalValue": 1e9,
        "not": {"warId": 7},
    }
    assert tree_of(filter_of_query(asked)) == tree_of(read(same))
    twice = [("npc", "true"), ("filter", '{"npc": false}')]
    assert tree_of(filter_of_query(twice)) == tree_of(
        read({"and": [{"npc": True}, {"npc": False}]})
    )
    assert len(PARAMETERS) > 50


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        (("shipTypeID", "1"), "shipTypeID: isn't a parameter of a filter"),
        (("victim.shipTypeId", "1,x"), "victim.shipTypeId: 'x' isn't an integer"),
        (("characterId", "1_0"), "'1_0' isn't an integer"),
        (("minTotalValue", "inf"), "'inf' isn't a number"),
        (("npc", "yes"), "npc: must be true or false"),
        (("spaceBand", "space"), "filter.spaceBand: "),
        (("since", "yesterday"), "filter.since: "),
        (("warId", str(2**63)), "filter.warId[0]: "),
        (("location.near.jumps", "2"), "filter.location.near: "),
        (("filter", "{"), "filter: isn't JSON"),
        (("filter", '{"and": [{"victim": {"weaponTypeId": 1}}]}'), "filter.and[0].victim"),
        (("filter", "[" * 100_000), "filter: has more than 20000 characters"),
        (("filter", "[" * 10_000), "filter: has brackets in brackets"),
    ],
)
def test_other_parameters_are_refused(parameter: tuple[str, str], message: str) -> None:
    with pytest.raises(BadInput) as error:
        filter_of_query([parameter])
    assert message in error.value.message


def nested(depth: int) -> Any:
    return {"not": nested(depth - 1)} if depth else {"npc": True}


@pytest.mark.parametrize(
    ("filter_", "message"),
    [
        (nested(8), "filter.not.not.not.not.not.not.not.not: is more than 8 filters deep"),
        ({"or": [{"npc": True}] * 101}, "filter.or: has 101 entries, and 100 is the limit"),
        ({"and": [{"or": [{"npc": True}] * 100}] * 3}, "is one of more than 200 conditions"),
        (
            {"or": [{"anyone": {"allianceId": list(range(100))}}] * 16},
            "filter.or: the filter stands for 3200 ids",
        ),
        ({"victim": {"shipTypeId": []}}, "filter.victim.shipTypeId: is an empty list"),
        ({"and": [{"npc": True}, {"not": {}}]}, "filter.and[1].not: has no condition"),
        (
            {"or": [{"attacker": {"shipTypeId": [2**37]}}]},
            "filter.or[0].attacker.shipTypeId: no id",
        ),
        ({"victim": {"shipGroupId": -1}}, "filter.victim.shipGroupId: "),
        ({"attacker": {"shipGroupId": -1}}, "filter.attacker.shipGroupId: "),
        ({"finalBlow": {"weaponGroupId": 7}}, "filter.finalBlow.weaponGroupId: no group"),
        ({"itemGroupId": 7}, "filter.itemGroupId: no group"),
        (
            {"anyone": {"shipCategoryId": 7, "allianceId": 1}},
            "filter.anyone.shipCategoryId: no cat",
        ),
        ({"location": {"near": {"solarSystemId": 9, "jumps": 1}}}, "near.solarSystemId: no solar"),
        ({"location": {"near": {"solarSystemId": 1}}}, "near: needs `jumps` or `lightYears`"),
        ({"location": {"near": {"solarSystemId": 1, "jumps": 51}}}, "near.jumps: must be 0 to 50"),
        ({"location": {"near": {"solarSystemId": 1, "lightYears": -1}}}, "near.lightYears: must"),
        ({"location": {"minSecurity": 1, "maxSecurity": 0}}, "location: minSecurity is more than"),
        (
            {"or": [{"label": ["pvp", "a\x00"]}]},
            "filter.or[0].label: labels have 1 to 100 printable",
        ),
        ({"label": "x" * 101}, "filter.label: labels have"),
        ({"minPoints": 2, "maxPoints": 1}, "filter: minPoints is more than maxPoints"),
        ({"minDroppedValue": 2, "maxDroppedValue": 1}, "minDroppedValue is more than maxDroppedV"),
    ],
)
def test_what_is_too_large_or_senseless_is_refused_with_its_place(
    filter_: Any, message: str
) -> None:
    with pytest.raises(BadInput) as error:
        tree_of(read(filter_))
    assert message in error.value.message


def test_readme_has_all_parameters_and_keys() -> None:
    readme = (Path(api.__file__).parent / "README.md").read_text()
    words = set(re.findall(r"[\w…]+", readme.split("## Filters")[1].split("\n## ")[0]))
    names = {part for name in PARAMETERS for part in name.split(".")}
    numbers = {"TotalValue", "DestroyedValue", "DroppedValue", "FittedValue"}
    of_numbers = {f"{end}{number}" for end in ("min", "max") for number in numbers}
    assert (names - of_numbers) | numbers | set(KEYS) <= words
