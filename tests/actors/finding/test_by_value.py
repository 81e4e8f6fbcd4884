"""Pages in the order of values equal a sorted scan of what was stored, on both databases."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.shared.finding import by_value
from actors.shared.finding.by_value import find_by_value
from tests.actors.finding.generated import CONDITIONS, Condition, Store


async def test_pages_by_value_equal_a_sorted_scan(
    stored: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[Condition, int, bool, int, int]] = []

    @settings(max_examples=80, deadline=None, database=None, derandomize=True)
    @given(
        CONDITIONS,
        st.sampled_from([30, 200]),
        st.booleans(),
        st.sampled_from([300, 10**6]),
        st.sampled_from([0, 100, 10**6]),
    )
    def draw(condition: Condition, limit: int, highest: bool, budget: int, few: int) -> None:
        drawn.append((condition, limit, highest, budget, few))

    draw()
    walked = 0
    for (tree_of, holds), limit, highest_first, budget, few in drawn:
        monkeypatch.setattr(by_value, "FEW", few)  # 0: always by the index
        monkeypatch.setattr(by_value, "FIRST_ROWS", 2)
        monkeypatch.setattr(by_value, "MOST_SORTED", few)
        tree = tree_of(stored)
        found: list[int] = []
        start = None
        while True:
            page = await find_by_value(
                stored.read,
                tree,
                limit=limit,
                start=start,
                highest_first=highest_first,
                budget=budget,
            )
            for one in page.found:
                assert one.total_value == stored.zkb[one.killmail_id]["totalValue"]
            found += [one.killmail_id for one in page.found]
            assert len(page.found) <= limit
            if page.searched_to is None:
                break
            assert page.searched_to != start
            start = page.searched_to
            walked += 1
        expected = sorted(
            (id_ for id_ in stored.bodies if holds(stored.bodies[id_], stored.zkb[id_])),
            key=lambda id_: (stored.zkb[id_]["totalValue"] or 0.0, id_),
            reverse=highest_first,
        )
        unknown = [id_ for id_ in expected if stored.zkb[id_]["totalValue"] is None]
        known = [id_ for id_ in expected if stored.zkb[id_]["totalValue"] is not None]
        assert found == known + unknown, tree
    assert walked > 100
