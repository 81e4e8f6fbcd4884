"""What is found equals a scan of all bodies, for generated conditions, on both databases."""

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.persist import read, store
from actors.shared.database import reading
from actors.shared.finding.find import BODIES, count, find
from actors.shared.finding.kinds import Kind, term_of
from actors.shared.finding.tree import (
    And,
    AttackerField,
    Has,
    Not,
    OneAttacker,
    Or,
    Time,
    Tree,
    Value,
)
from actors.shared.reference import encode_reference
from actors.shared.tables import LABELS
from tests.support.made import a_mail, a_reference, an_attacker

FIRST_ID = 65_200  # the made-up killmails lie in two blocks
COUNT = 800
START = datetime(2024, 5, 1, tzinfo=UTC)
LABELS_USED = ("pvp", "solo", "loc:nullsec")
VALUES = (None, 5e5, 1e6, 9_999_999.0, 1e7, 2.5e9)
IDS = st.integers(1, 4)
FIELDS: tuple[AttackerField, ...] = (
    "character_id",
    "corporation_id",
    "alliance_id",
    "ship_type_id",
)


def a_killmail(random_: random.Random, killmail_id: int) -> tuple[bytes, bytes]:
    """Make a killmail of few entities, and its zkb block."""

    def pick() -> int | None:
        return random_.choice((None, 1, 2, 3, 4))

    attackers = [
        an_attacker(
            **{name: value for name in FIELDS if (value := pick()) is not None},
            final_blow=i == 0,
        )
        for i in range(random_.randint(1, 3))
    ]
    time = START + timedelta(minutes=10 * (killmail_id - FIRST_ID))
    victim: dict[str, Any] = {"damage_taken": 1, "ship_type_id": random_.randint(1, 4)}
    if (alliance := pick()) is not None:
        victim["alliance_id"] = alliance
    body = a_mail(
        killmail_id,
        killmail_time=time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        solar_system_id=random_.randint(1, 4),
        victim=victim,
        attackers=attackers,
    )
    zkb: dict[str, Any] = {
        "labels": [one for one in LABELS_USED if random_.random() < 0.4],
        "totalValue": random_.choice(VALUES),
    }
    return msgspec.json.encode(body), msgspec.json.encode(zkb)


class Store:
    """The stored killmails, and what is known of them without the index."""

    def __init__(self, database: AsyncEngine) -> None:
        self.database = database
        self.bodies: dict[int, dict[str, Any]] = {}
        self.zkb: dict[int, dict[str, Any]] = {}
        self.label_ids: dict[str, int] = {}

    async def add(self, seed: int, ids: Sequence[int], as_of: float) -> None:
        """Store killmails, or later versions of them."""
        random_ = random.Random(seed)
        made = {id_: a_killmail(random_, id_) for id_ in ids}
        for start in range(0, len(ids), 150):
            references = [
                encode_reference(a_reference(body, id_, zkb=msgspec.Raw(zkb), as_of=as_of))
                for id_ in ids[start : start + 150]
                for body, zkb in [made[id_]]
            ]
            await store(self.database, read(references)[0])
        for id_, (body, zkb) in made.items():
            self.bodies[id_], self.zkb[id_] = msgspec.json.decode(body), msgspec.json.decode(zkb)
        async with reading(self.database) as connection:
            rows = await connection.execute(select(LABELS))
            self.label_ids = {row.label: row.label_id for row in rows}

    async def read(self, query: Any) -> Sequence[Any]:
        async with reading(self.database) as connection:
            return (await connection.execute(query)).all()


Condition = tuple[Callable[[Store], Tree], Callable[[dict[str, Any], dict[str, Any]], bool | None]]
"""A tree, and the same condition on body and zkb block; None: unknown."""


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    """Draw one condition."""
    id_ = draw(IDS)
    kind = draw(st.integers(0, 6))
    if kind == 0:
        tree = Has(term_of(Kind.VICTIM_SHIP_TYPE, id_))
        return (lambda _: tree), lambda b, _: b["victim"]["ship_type_id"] == id_
    if kind == 1:
        has = Has(term_of(Kind.ATTACKER_CORPORATION, id_))
        return (lambda _: has), lambda b, _: any(
            a.get("corporation_id") == id_ for a in b["attackers"]
        )
    if kind == 2:
        label = draw(st.sampled_from(LABELS_USED))
        return (
            lambda store: Has(term_of(Kind.LABEL, store.label_ids[label]))
        ), lambda _, z: label in z["labels"]
    if kind == 3:
        names = draw(
            st.lists(
                st.sampled_from(FIELDS),
                min_size=1,
                max_size=3,
                unique=True,
            )
        )
        fields = tuple((name, draw(IDS)) for name in names)
        final = draw(st.booleans())
        one = OneAttacker(fields, final)
        return (lambda _: one), lambda b, _: any(
            all(a.get(n) == i for n, i in fields) and (a["final_blow"] or not final)
            for a in b["attackers"]
        )
    if kind == 4:
        bounds = st.none() | st.sampled_from([v for v in VALUES if v is not None])
        low, high = draw(bounds), draw(bounds)
        value = Value(low, high)
        return (
            (lambda _: value),
            lambda _, z: (
                None
                if z["totalValue"] is None
                else (low is None or z["totalValue"] >= low)
                and (high is None or z["totalValue"] < high)
            ),
        )
    if kind == 5:
        times = st.none() | st.integers(0, COUNT).map(lambda n: START + timedelta(minutes=10 * n))
        since, until = draw(times), draw(times)
        time = Time(since, until)

        def is_in_time(b: dict[str, Any], _: Any) -> bool:
            at = datetime.fromisoformat(b["killmail_time"])
            return (since is None or at >= since) and (until is None or at < until)

        return (lambda _: time), is_in_time
    system = Has(term_of(Kind.SOLAR_SYSTEM, id_))
    return (lambda _: system), lambda b, _: b["solar_system_id"] == id_


def combined(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    def all_of(parts: list[Condition]) -> Condition:
        return (lambda s: And(tuple(tree(s) for tree, _ in parts))), lambda b, z: and_(
            [holds(b, z) for _, holds in parts]
        )

    def any_of(parts: list[Condition]) -> Condition:
        return (lambda s: Or(tuple(tree(s) for tree, _ in parts))), lambda b, z: or_(
            [holds(b, z) for _, holds in parts]
        )

    def not_(part: Condition) -> Condition:
        def holds(b: dict[str, Any], z: dict[str, Any]) -> bool | None:
            known = part[1](b, z)
            return None if known is None else not known

        return (lambda s: Not(part[0](s))), holds

    several = st.lists(inner, max_size=3)
    return several.map(all_of) | several.map(any_of) | inner.map(not_)


def and_(parts: list[bool | None]) -> bool | None:
    return False if False in parts else None if None in parts else True


def or_(parts: list[bool | None]) -> bool | None:
    return True if True in parts else None if None in parts else False


CONDITIONS = st.recursive(conditions(), combined, max_leaves=6)


@pytest.fixture
async def stored(database: AsyncEngine) -> Store:
    made = Store(database)
    await made.add(1, range(FIRST_ID, FIRST_ID + COUNT), 1_700_000_000.0)
    corrected = random.Random(2).sample(range(FIRST_ID, FIRST_ID + COUNT), 200)
    await made.add(3, corrected, 1_700_000_100.0)
    return made


async def all_pages(store: Store, tree: Tree, limit: int, **options: Any) -> list[int]:
    """Read page after page."""
    found: list[int] = []
    start = None
    while True:
        page = await find(store.read, tree, limit=limit, start=start, **options)
        found += page.killmail_ids
        assert len(page.killmail_ids) <= limit
        if page.searched_to is None:
            return found
        start = page.searched_to


async def test_answers_equal_a_scan_of_all_bodies(stored: Store) -> None:
    loop_free: list[tuple[Condition, int, bool, int]] = []

    @settings(max_examples=80, deadline=None, database=None, derandomize=True)
    @given(CONDITIONS, st.sampled_from([30, 200]), st.booleans(), st.sampled_from([300, 10**6]))
    def draw(condition: Condition, limit: int, newest_first: bool, budget: int) -> None:
        loop_free.append((condition, limit, newest_first, budget))

    draw()
    hits = 0
    for (tree_of, holds), limit, newest_first, budget in loop_free:
        expected = [
            id_ for id_ in sorted(stored.bodies) if holds(stored.bodies[id_], stored.zkb[id_])
        ]
        if newest_first:
            expected.reverse()
        tree = tree_of(stored)
        found = await all_pages(stored, tree, limit, newest_first=newest_first, budget=budget)
        assert found == expected, tree
        assert await count(stored.read, tree) == len(expected)
        hits += bool(expected)
    assert hits > 50


async def test_a_page_reads_no_more_bodies_than_its_budget_allows(sqlite: AsyncEngine) -> None:
    store = Store(sqlite)
    await store.add(1, range(FIRST_ID, FIRST_ID + 600), 1_700_000_000.0)
    bodies = 0

    async def counting(query: Any) -> Sequence[Any]:
        nonlocal bodies
        rows = await store.read(query)
        bodies += sum("body" in row._fields for row in rows)
        return rows

    tree = OneAttacker((("ship_type_id", 1),), final_blow=True)
    page = await find(counting, tree, limit=600, budget=1)
    assert bodies == BODIES
    assert page.searched_to is not None
    assert not page.is_full
    rest = await find(counting, tree, limit=600, start=page.searched_to)
    assert bodies > 2 * BODIES
    assert [*page.killmail_ids, *rest.killmail_ids] == [
        id_
        for id_ in sorted(store.bodies, reverse=True)
        if any(
            a["final_blow"] and a.get("ship_type_id") == 1 for a in store.bodies[id_]["attackers"]
        )
    ]
