import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.standin.redisq_filter import InvalidFilter, Rule, parse_filter

PACKAGE = {
    "package": {
        "killID": 5,
        "killmail": {
            "solar_system_id": 30000142,
            "victim": {"alliance_id": 99000001, "items": [{"flag": 5, "items": [{"flag": 0}]}]},
            "attackers": [{"alliance_id": 99000002}, {"corporation_id": 98000001}],
        },
        "zkb": {"totalValue": 1234567.5, "npc": False, "labels": ["tz:eu", "pvp"]},
    }
}
keys = st.text("abcdef_ID", min_size=1, max_size=12)
values = st.text("abc019:.+-", min_size=1, max_size=8)
compares = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
rules = st.builds(Rule, keys, compares, values)


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ("solar_system_id=30000142", True),
        ("solar_system_id=30000143", False),
        ("alliance_id=99000002", True),
        ("alliance_id!=99000002", True),
        ("killID!=5", False),
        ("totalValue>=1234567.5", True),
        ("totalValue>1234567.5", False),
        ("totalValue<1e7", True),
        ("npc=false", True),
        ("labels=pvp", True),
        ("flag=0", True),
        ("nothing=1", False),
        ("nothing!=1", False),
        ("killID=5;npc=true", False),
        ("killID=5,npc=true", True),
        ("alliance_id=99000001;alliance_id=99000002", True),
        (" killID = 5 ", True),
    ],
)
def test_filter_matches(filter_: str, expected: bool) -> None:
    assert parse_filter(filter_).matches(PACKAGE) is expected


@pytest.mark.parametrize(
    "filter_", ["alliance_id=1,2,3", "a=1;b=2,c=3", "a", "=1", "a=", "a=1;", ",", "a!1", " = "]
)
def test_filter_is_refused(filter_: str) -> None:
    with pytest.raises(InvalidFilter):
        parse_filter(filter_)


@given(st.lists(rules, min_size=1, max_size=5), st.sampled_from(";,"))
def test_every_filter_written_by_the_grammar_reads_back(written: list[Rule], between: str) -> None:
    parsed = parse_filter(between.join("".join(rule) for rule in written))
    assert list(parsed.rules) == written
    assert parsed.any_of is (between == "," and len(written) > 1)


@given(st.text(max_size=40))
def test_any_text_is_a_filter_or_unparsable(text: str) -> None:
    try:
        parsed = parse_filter(text)
    except InvalidFilter:
        return
    assert parsed.rules
    parsed.matches(PACKAGE)


@given(st.lists(rules, min_size=2, max_size=4))
def test_all_of_implies_any_of(written: list[Rule]) -> None:
    parts = ["".join(rule) for rule in written]
    if parse_filter(";".join(parts)).matches(PACKAGE):
        assert parse_filter(",".join(parts)).matches(PACKAGE)
