"""A client's budget is used up by what it does, comes back evenly, and is its own."""

from api import budget
from api.budget import Budget


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_budget_is_used_up_and_comes_back_evenly() -> None:
    clock = Clock()
    mine = Budget(600, clock)
    assert mine.charge("a", 400).remaining == 200
    refused = mine.charge("a", 300)
    assert (refused.retry_after_s, refused.remaining, refused.full_in_s) == (10, 200, 40)
    assert mine.charge("b", 600).retry_after_s is None
    clock.now_s += 10
    assert mine.charge("a", 300).retry_after_s is None
    assert mine.level("a").remaining == 0
    clock.now_s += 60
    assert (mine.level("a").remaining, mine.level("a").full_in_s) == (600, 0)


def test_cost_above_the_budget_takes_all_of_it() -> None:
    mine = Budget(600, Clock())
    assert mine.charge("a", 5_000).remaining == 0
    assert mine.charge("a", 1).retry_after_s == 1


def test_what_was_done_is_counted_whatever_remains() -> None:
    mine = Budget(600, Clock())
    mine.record("a", 1_200)
    mine.record("a", -5_000)
    assert (mine.level("a").remaining, mine.charge("a", 1).retry_after_s) == (0, 61)


def test_clients_that_are_remembered_are_bounded() -> None:
    mine = Budget(600, Clock())
    for number in range(budget.MAX_CLIENTS + 10):
        mine.charge(str(number), 600)
    assert mine.level("0").remaining == 600
    assert mine.level(str(budget.MAX_CLIENTS + 9)).remaining == 0
