from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from deploy.standin.dataset import Dataset
from deploy.standin.faults import Faults
from deploy.standin.layout import LOOKBACK, Layout
from deploy.standin.synthetic import SyntheticKillmails

rates = st.floats(0, 0.3)
any_faults = st.builds(
    Faults,
    hole_rate=rates,
    null_rate=rates,
    duplicate_rate=rates,
    rewrite_rate=st.floats(0, 1),
    shuffle=st.integers(0, 50),
)
seeds = st.integers(0, 2**32)
counts = st.integers(0, 120)


def dealt(count: int, seed: int, faults: Faults) -> Layout:
    layout = Layout(count, seed, faults)
    layout.extend_to_end()
    return layout


@given(counts, seeds, any_faults)
def test_each_killmail_has_one_slot_whatever_the_faults(
    count: int, seed: int, faults: Faults
) -> None:
    slots = dealt(count, seed, faults).slots
    first = [slot.index for slot in slots if slot.kind == "killmail" and not slot.duplicate]
    assert sorted(first) == list(range(count))


@given(counts, seeds, any_faults)
def test_repeats_and_rewrites_point_back_at_killmails(
    count: int, seed: int, faults: Faults
) -> None:
    slots = dealt(count, seed, faults).slots
    for position, slot in enumerate(slots):
        before = slots[max(0, position - LOOKBACK) : position]
        if slot.duplicate:
            assert slot.index in {one.index for one in before}
        if slot.updates is not None:
            assert position - LOOKBACK <= slot.updates < position
            assert slots[slot.updates].kind == "killmail"


@given(counts, seeds, any_faults, any_faults, st.integers(0, 200), st.integers(0, 200))
def test_nothing_is_lost_or_moved_when_faults_change_on_the_way(
    count: int, seed: int, before: Faults, after: Faults, until: int, seen: int
) -> None:
    layout = Layout(count, seed, before)
    layout.extend(until)
    unchanged = layout.slots[:seen]
    layout.relayout(seen, after)
    assert layout.slots == unchanged
    layout.extend_to_end()
    assert layout.slots[: len(unchanged)] == unchanged
    first = [slot.index for slot in layout.slots if slot.kind == "killmail" and not slot.duplicate]
    assert sorted(first) == list(range(count))


@given(counts, seeds, any_faults)
def test_the_same_seed_gives_the_same_layout_however_it_is_dealt(
    count: int, seed: int, faults: Faults
) -> None:
    slowly = Layout(count, seed, faults)
    while not slowly.done:
        slowly.extend(len(slowly.slots) + 1)
    assert slowly.slots == dealt(count, seed, faults).slots


def test_faults_come_about_as_often_as_asked() -> None:
    faults = Faults(hole_rate=0.1, null_rate=0.1, duplicate_rate=0.1, rewrite_rate=0.1)
    slots = dealt(5_000, 1, faults).slots
    kinds = Counter(slot.kind for slot in slots)
    share = 0.1 * len(slots)
    assert 0.8 * share < kinds["hole"] < 1.2 * share
    assert 0.8 * share < kinds["null"] < 1.2 * share
    assert 0.8 * share < sum(slot.duplicate for slot in slots) < 1.2 * share
    assert 400 < sum(slot.updates is not None for slot in slots) < 600


def test_shuffle_moves_killmails_forward_within_its_window_only() -> None:
    order = [slot.index for slot in dealt(1_000, 1, Faults(shuffle=20)).slots]
    assert order != sorted(order)
    assert all(index < position + 20 for position, index in enumerate(order))


def test_numbers_come_out_at_the_rate() -> None:
    killmails = SyntheticKillmails(10, 1, None, None)
    dataset = Dataset(
        killmails, seed=1, faults=Faults(), first_sequence=5, rate_per_s=2.0, started_at_s=100.0
    )
    assert [dataset.released(now_s) for now_s in (100.0, 100.4, 100.5, 102.0, 999.0)] == [
        1,
        1,
        2,
        5,
        10,
    ]
    assert dataset.released_at_s(3) == 101.5


def test_documents_can_be_read_without_a_server() -> None:
    dataset = Dataset(
        SyntheticKillmails(50, 1, None, None),
        seed=1,
        faults=Faults(hole_rate=0.3),
        first_sequence=70,
        rate_per_s=None,
        started_at_s=0.0,
    )
    documents = list(dataset.documents())
    assert [sequence for sequence, _ in documents] == list(range(70, 70 + len(documents)))
    assert sum(document is not None for _, document in documents) == 50
    assert any(document is None for _, document in documents)
