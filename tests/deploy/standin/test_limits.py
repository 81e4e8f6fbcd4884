from hypothesis import given
from hypothesis import strategies as st

from deploy.standin.limits import ErrorBudget, FloatingWindow, RequestLimit

WINDOW_S = 10
requests = st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0, 1, 2, 5])), max_size=60)


@given(requests, st.integers(1, 12))
def test_window_refuses_exactly_what_would_go_over(
    gaps_and_costs: list[tuple[int, int]], tokens: int
) -> None:
    window = FloatingWindow(tokens, WINDOW_S)
    spent: list[tuple[int, int]] = []
    now_s = 0
    for gap_s, cost in gaps_and_costs:
        now_s += gap_s
        used = sum(c for at_s, c in spent if at_s + WINDOW_S > now_s)
        assert window.used(now_s) == used
        fits = used + cost <= tokens
        assert window.spend(now_s, cost) is fits
        if fits:
            spent.append((now_s, cost))
    assert window.highest_used <= tokens


@given(requests)
def test_cost_is_there_after_retry_after_and_not_a_second_before(
    gaps_and_costs: list[tuple[int, int]],
) -> None:
    window = FloatingWindow(8, WINDOW_S)
    now_s = 0
    for gap_s, cost in gaps_and_costs:
        now_s += gap_s
        if not window.spend(now_s, cost):
            wait_s = window.retry_after_s(now_s, cost)
            assert window.used(now_s + wait_s - 1) + cost > 8 or wait_s == 1
            now_s += wait_s
            assert window.spend(now_s, cost)


def test_token_returns_exactly_one_window_after_it_was_spent() -> None:
    window = FloatingWindow(2, 900)
    assert window.spend(100.5, 2)
    assert not window.spend(1000.4999, 1)
    assert window.spend(1000.5, 2)


def test_highest_use_is_counted_above_the_limit_when_it_is_off() -> None:
    window = FloatingWindow(2, 900)
    for _ in range(3):
        assert window.spend(0, 2, enforce=False)
    assert window.highest_used == 6


def test_errors_come_back_when_their_window_turns() -> None:
    budget = ErrorBudget(2, 60)
    budget.error(61)
    budget.error(119)
    budget.error(119)
    assert budget.remaining(119.9) == 0
    assert budget.reset_s(119.1) == 1
    assert budget.remaining(120) == 2
    assert budget.reset_s(120) == 60


def test_request_limit_holds_in_any_second_not_only_in_whole_ones() -> None:
    limit = RequestLimit(3)
    assert [limit.allows(now_s) for now_s in (0.8, 0.9, 1.0, 1.1)] == [True, True, True, False]
    assert limit.allows(2.11)


def test_ban_lasts_and_each_retry_prolongs_it() -> None:
    limit = RequestLimit(1, ban_s=100)
    assert limit.allows(0)
    assert not limit.allows(0.5)
    assert not limit.allows(99)
    assert not limit.allows(198)
    assert limit.allows(298)


def test_request_limit_counts_what_it_refuses() -> None:
    limit = RequestLimit(1)
    for _ in range(4):
        limit.allows(0)
    assert limit.highest_per_s == 4
