"""What is found equals a scan of all bodies, for generated conditions, on both databases."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, update
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.check.run import check_all
from actors.shared.finding.find import count, count_unknown, find
from actors.shared.finding.normal import normal_form
from actors.shared.finding.subject import matches
from actors.shared.finding.tree import OneAttacker, Tree
from actors.shared.finding.walk import BODIES
from actors.shared.tables import KILLMAIL_DAYS, POSTINGS
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


Asked = tuple[Condition, int, bool, int]


def drawn(count: int) -> list[Asked]:
    """Draw conditions, the size of pages, their order and their budget."""
    asked: list[Asked] = []

    @settings(max_examples=count, deadline=None, database=None, derandomize=True)
    @given(CONDITIONS, st.sampled_from([30, 200]), st.booleans(), st.sampled_from([300, 10**6]))
    def draw(condition: Condition, limit: int, newest_first: bool, budget: int) -> None:
        asked.append((condition, limit, newest_first, budget))

    draw()
    return asked


async def answers(store: Store, one: Asked) -> tuple[list[int], list[int]]:
    """Give what is found, and what a scan of all bodies finds."""
    (tree_of, holds), limit, newest_first, budget = one
    expected = [id_ for id_ in sorted(store.bodies) if holds(store.bodies[id_], store.zkb[id_])]
    if newest_first:
        expected.reverse()
    tree = tree_of(store)
    found = await all_pages(store, tree, limit, newest_first=newest_first, budget=budget)
    return found, expected


async def test_answers_equal_a_scan_of_all_bodies(stored: Store) -> None:
    hits = unknowns = 0
    subjects = stored.subjects()
    for one in drawn(80):
        found, expected = await answers(stored, one)
        tree_of, holds = one[0]
        tree = tree_of(stored)
        assert found == expected, tree
        assert await count(stored.read, tree) == len(expected)
        judged = normal_form(tree)
        assert {id_ for id_ in subjects if matches(judged, subjects[id_])} == set(expected), tree
        unknown = [holds(stored.bodies[id_], stored.zkb[id_]) for id_ in stored.bodies].count(None)
        assert await count_unknown(stored.read, tree) == unknown, tree
        hits += bool(expected)
        unknowns += bool(unknown)
    assert hits > 50
    assert unknowns > 4


async def test_answers_are_right_again_after_a_repair(stored: Store) -> None:
    asked = drawn(40)
    async with stored.database.begin() as connection:
        await connection.execute(delete(POSTINGS).where(POSTINGS.c.key % 3 == 0))
        wrong = {"worths": func.substr(POSTINGS.c.worths, 2), "top": 1}
        await connection.execute(update(POSTINGS).where(POSTINGS.c.key % 3 == 1).values(wrong))
        await connection.execute(delete(KILLMAIL_DAYS))
    await check_all(stored.database, mend=True)
    for one in asked:
        found, expected = await answers(stored, one)
        assert found == expected


async def test_answers_of_damaged_postings_differ(sqlite: AsyncEngine) -> None:
    """So the test above would fail without its repair."""
    store = Store(sqlite)
    await store.add(1, range(FIRST_ID, FIRST_ID + 300), 1_700_000_000.0)
    async with sqlite.begin() as connection:
        await connection.execute(delete(POSTINGS).where(POSTINGS.c.key % 3 == 0))
    assert any(
        found != expected for found, expected in [await answers(store, o) for o in drawn(40)]
    )


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
