"""Compiled results are those that graphql-core gives, for any document and any killmail."""

from datetime import UTC, date, datetime
from inspect import iscoroutinefunction
from random import Random
from typing import Any

import msgspec
import pytest
from graphql import (
    Executor,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLUnionType,
    get_named_type,
    parse,
    validate,
)

from actors.shared.feed import Entry, ImportedDay
from api.graphql import SCHEMA
from api.live.events import CursorTooOld, DayImported, Event, Heartbeat, KillmailEvent, Lagged
from api.live.meaning import meaning_of
from api.live.render import Renderer
from api.view import DayView, View
from tests.api.gateway import NAMES_KNOWN, a_killmail
from tests.support.killmails import bodies

NODE = SCHEMA.type_map["Node"]
assert isinstance(NODE, GraphQLInterfaceType)
OBJECTS = {one for one in SCHEMA.get_possible_types(NODE) if one.name != "Killmail"}
"""What other fields of these say may have to be read: documents that select them are executed."""
DOCUMENTS = 24
KILLMAILS = 8


def event_of(body: bytes, zkb: Any = None, kind: str = "added") -> KillmailEvent:
    raw = msgspec.Raw(msgspec.json.encode(zkb)) if zkb is not None else msgspec.Raw()
    killmail_id = msgspec.json.decode(body)["killmail_id"]
    entry = Entry(
        sequence=7,
        kind=kind,
        killmail_id=killmail_id,
        hash="a" * 40,
        stored_at=1.5e9,
        killmail=msgspec.Raw(body),
        names=dict(NAMES_KNOWN),
        zkb=raw,
    )
    return KillmailEvent(View(entry), ("mine",))


def executor_of(document: str, **variables: Any) -> Executor[Any]:
    parsed = parse(document)
    assert not validate(SCHEMA, parsed)
    executor = Executor.build(SCHEMA, parsed, None, None, variables)
    assert isinstance(executor, Executor)
    return executor


def selections(of: Any, random: Random, depth: int = 0) -> str:
    """Select some of the plain fields of a type, and of what they have."""
    if isinstance(of, GraphQLUnionType | GraphQLInterfaceType):
        fragments = (
            f"... on {one.name} {selections(one, random, depth)}"
            for one in SCHEMA.get_possible_types(of)
        )
        return "{ __typename " + " ".join(fragments) + " }"
    assert isinstance(of, GraphQLObjectType)
    chosen = []
    for name, field in of.fields.items():
        kind = get_named_type(field.type)
        if kind in OBJECTS:
            continue
        is_leaf = not hasattr(kind, "fields") and not isinstance(kind, GraphQLUnionType)
        needs_arguments = any(one.default_value is None for one in field.args.values())
        reads = iscoroutinefunction(field.resolve)  # which isn't compiled, and has no database here
        if reads or needs_arguments or random.random() < 0.4 or (not is_leaf and depth == 4):
            continue
        alias = f"a{random.randrange(9)}{name}: " if random.random() < 0.2 else ""
        directive = random.choice(["", "", " @include(if: $yes)", " @skip(if: $yes)"])
        below = "" if is_leaf else f" {selections(kind, random, depth + 1)}"
        chosen.append(f"{alias}{name}{directive}{below}")
    return "{ __typename " + " ".join(chosen) + " }"


async def test_compiled_results_equal_executed_ones() -> None:
    random = Random(1)
    some = random.sample(list(bodies().values()), KILLMAILS)
    zkb = {"totalValue": 5.5, "points": 3, "labels": ["solo"], "npc": False, "hash": "b" * 40}
    events = [event_of(body, random.choice([None, zkb])) for body in some]
    events.append(event_of(a_killmail(5), kind="updated"))
    compiled = 0
    for number in range(DOCUMENTS):
        field = "killmailAdded" if number % 2 else "killmailFeed"
        of = "Killmail" if number % 2 else "KillmailFeedEvent"
        selected = selections(SCHEMA.type_map[of], random)
        executor = executor_of(
            f"subscription ($yes: Boolean!) {{ {field} {selected} }}", yes=random.random() < 0.5
        )
        renderer = Renderer(executor)
        for event in events:
            result = renderer.render_now(event)
            compiled += result is not None
            executed = await renderer._execute(event)
            assert result is None or result == executed, selected
    assert compiled > DOCUMENTS * KILLMAILS * 0.9, "documents of plain fields are compiled"


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            DayImported(DayView(ImportedDay(7, date(2015, 3, 1), "everef", 2, 3, 1.5e9))),
            {
                "__typename": "DayImported",
                "sequence": 7,
                "day": {"day": "2015-03-01", "source": "everef", "added": 2, "total": 3},
            },
        ),
        (
            Heartbeat(8, datetime(2026, 1, 1, 0, 0, 0, 123_000, tzinfo=UTC)),
            {"__typename": "Heartbeat", "sequence": 8, "sentAt": "2026-01-01T00:00:00.123Z"},
        ),
        (Lagged(9, 12), {"__typename": "Lagged", "sequence": 9, "lastSequence": 12}),
        (CursorTooOld(1, 4), {"__typename": "CursorTooOld", "sequence": 1, "firstSequence": 4}),
    ],
)
async def test_each_other_event_has_its_fields(event: Event, expected: dict[str, Any]) -> None:
    document = """subscription { killmailFeed { __typename
      ... on DayImported { sequence day { day source added total } }
      ... on Heartbeat { sequence sentAt }
      ... on Lagged { sequence lastSequence }
      ... on CursorTooOld { sequence firstSequence } } }"""
    result = Renderer(executor_of(document)).render_now(event)
    assert result is not None
    assert msgspec.json.decode(result) == {"data": {"killmailFeed": expected}}


async def test_a_result_with_an_error_is_executed() -> None:
    """zKillboard's blocks aren't checked: any field may have a value of another type."""
    renderer = Renderer(executor_of("subscription { killmailAdded { killmailId zkb { points } } }"))
    broken = event_of(a_killmail(1), {"points": "many"})
    assert renderer.is_compiled
    assert renderer.render_now(broken) is None
    result = msgspec.json.decode(await renderer.render(broken))
    assert result["data"] == {"killmailAdded": {"killmailId": 1, "zkb": {"points": None}}}
    assert [error["path"] for error in result["errors"]] == [["killmailAdded", "zkb", "points"]]


BASE = "subscription ($after: Long) { killmailAdded(after: $after) "
INCLUDING = "subscription ($after: Long, $yes: Boolean = true) { killmailAdded(after: $after) "
SPREAD = "subscription { killmailAdded { killmailId ...S } } fragment S on Killmail { sequence }"


@pytest.mark.parametrize(
    ("document", "variables", "is_same"),
    [
        (BASE + "{ killmailId sequence } }", {"after": 17}, True),
        (BASE + "{ killmailId sequence } }", {"after": 18}, True),
        ("subscription { killmailAdded(after: 3, maxAge: 9) { killmailId, sequence } }", {}, True),
        ("subscription A { killmailAdded {\n killmailId sequence # remark\n} }", {}, True),
        ("subscription { killmailAdded { sequence killmailId } }", {}, False),
        ("subscription { killmailAdded { killmailId s: sequence } }", {}, False),
        ("subscription { k: killmailAdded { killmailId sequence } }", {}, False),
        (SPREAD, {}, False),
    ],
)
def test_only_what_reaches_the_results_makes_another_meaning(
    document: str, variables: dict[str, Any], is_same: bool
) -> None:
    plain = meaning_of(executor_of("subscription { killmailAdded { killmailId sequence } }"))
    assert (meaning_of(executor_of(document, **variables)) == plain) is is_same


def test_variables_that_reach_the_results_make_another_meaning() -> None:
    document = (
        INCLUDING + "{ killmailId ...S } } fragment S on Killmail { sequence @include(if: $yes) }"
    )
    one, other, third = (
        meaning_of(executor_of(document, after=after, yes=yes))
        for after, yes in ((1, True), (2, False), (3, True))
    )
    assert one == third != other
