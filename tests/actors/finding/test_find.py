"""What is found equals a scan of all bodies, for generated conditions, on both databases."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.finding.find import count, count_unknown, find
from actors.shared.finding.tree import (
    OneAttacker,
    Tree,
)
from actors.shared.finding.walk import BODIES
from tests.actors.finding.generated import CONDITIONS, FIRST_ID, Condition, Store


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
    hits = unknowns = 0
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
        unknown = [holds(stored.bodies[id_], stored.zkb[id_]) for id_ in stored.bodies].count(None)
        assert await count_unknown(stored.read, tree) == unknown, tree
        hits += bool(expected)
        unknowns += bool(unknown)
    assert hits > 50
    assert unknowns > 10


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
