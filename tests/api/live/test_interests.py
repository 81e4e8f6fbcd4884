"""The index over filters gives each killmail to exactly the groups whose filters it meets."""

import random
from types import SimpleNamespace
from typing import Any, cast

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.shared.feed import Entry
from actors.shared.finding.normal import normal_form
from actors.shared.finding.subject import Subject, subject_of
from actors.shared.finding.tree import Tree
from actors.shared.finding.universe import NOT_LOADED
from actors.shared.killmail import parse_killmail
from api.live.events import KillmailEvent
from api.live.group import Group
from api.live.interests import Interests
from api.live.selection import Selection
from api.view import View
from tests.actors.finding.generated import CONDITIONS, FIRST_ID, LABELS_USED, Condition, a_killmail

LABEL_IDS = {label: number for number, label in enumerate(LABELS_USED, 1)}
Made = tuple[View, Subject, dict[str, Any], dict[str, Any]]


def made(count: int) -> list[Made]:
    """Make killmails: as views, as what filters are applied to, and as bodies and zkb blocks."""
    random_ = random.Random(4)
    killmails = []
    for number in range(count):
        body, zkb = a_killmail(random_, FIRST_ID + number)
        entry = Entry(
            sequence=number + 1,
            kind="added",
            killmail_id=FIRST_ID + number,
            hash="a" * 40,
            stored_at=0.0,
            killmail=msgspec.Raw(body),
            zkb=msgspec.Raw(zkb),
        )
        block = msgspec.json.decode(zkb)
        labels = [LABEL_IDS[label] for label in block["labels"]]
        subject = subject_of(parse_killmail(body), block, labels, NOT_LOADED)
        killmails.append((View(entry), subject, msgspec.json.decode(body), block))
    return killmails


MADE = made(60)
SUBJECTS = {id(view): subject for view, subject, _, _ in MADE}


def group_of(number: int, *trees: Tree) -> Group:
    filters = tuple((f"{number}-{n}", tree) for n, tree in enumerate(trees))
    return Group(Selection(filters), (number,), cast(Any, None), 0)


@settings(max_examples=40, deadline=None, database=None, derandomize=True)
@given(st.lists(st.lists(CONDITIONS, max_size=3), min_size=1, max_size=8), st.data())
def test_each_killmail_reaches_the_groups_whose_filters_it_meets(
    wanted: list[list[Condition]], data: st.DataObject
) -> None:
    store = cast(Any, SimpleNamespace(label_ids=LABEL_IDS))
    interests = Interests()
    groups = {}
    for number, conditions in enumerate(wanted):
        group = group_of(number, *(normal_form(tree_of(store)) for tree_of, _ in conditions))
        groups[group] = conditions
        interests.add(group)
    for group in data.draw(st.sets(st.sampled_from(list(groups)), max_size=3)):
        interests.remove(group)
        del groups[group]
    for view, _, body, zkb in MADE:
        found = {
            group: cast(KillmailEvent, event).matched
            for group, event in interests.events(view, lambda view: SUBJECTS[id(view)])
        }
        met = {
            group: tuple(
                name
                for (name, _), (_, holds) in zip(group.selection.filters, conditions, strict=True)
                if holds(body, zkb)
            )
            for group, conditions in groups.items()
        }
        assert found == {
            group: names for group, names in met.items() if names or not group.selection.filters
        }


def test_nothing_is_left_of_groups_that_are_gone() -> None:
    interests = Interests()
    store = cast(Any, SimpleNamespace(label_ids=LABEL_IDS))
    trees: list[Tree] = []

    @settings(max_examples=50, deadline=None, database=None, derandomize=True)
    @given(CONDITIONS)
    def draw(condition: Condition) -> None:
        trees.append(normal_form(condition[0](store)))

    draw()
    groups = [group_of(number, tree) for number, tree in enumerate(trees)]
    for group in groups:
        interests.add(group)
    for group in groups:
        interests.remove(group)
    assert not any(vars(interests).values())
