"""What `killstream demo` counts as lost: a killmail that was due and wasn't delivered."""

import time
from collections.abc import AsyncIterator

import pytest

from deploy.demo import DUE_S, Delivered, due_by_now, requests_for
from deploy.standin.server import Standin, StandinOptions, start_standin

RATE_PER_S = 20.0
BEGAN_S = 1_790_000_000.0


@pytest.fixture
async def standin() -> AsyncIterator[Standin]:
    """A stand-in that released killmails for `DUE_S` and ten seconds more."""
    clock = iter([BEGAN_S])
    options = StandinOptions(
        synthetic=1_000,
        rate_per_s=RATE_PER_S,
        clock=lambda: next(clock, BEGAN_S + DUE_S + 10),
    )
    started = await start_standin(options)
    try:
        yield started
    finally:
        await started.stop()


def test_only_what_was_released_long_enough_ago_is_due(standin: Standin) -> None:
    delivered = Delivered(since_s=time.monotonic() - 2 * DUE_S)
    released = standin.dataset.released(standin.playback.now_s())
    assert released == pytest.approx((DUE_S + 10) * RATE_PER_S, abs=1)
    assert len(due_by_now(standin, delivered)) == pytest.approx(10 * RATE_PER_S, abs=1)


@pytest.mark.parametrize("is_subscribed", [False, True])
def test_nothing_is_due_before_the_subscriber_had_the_time(
    standin: Standin, is_subscribed: bool
) -> None:
    since_s = time.monotonic() if is_subscribed else None
    assert due_by_now(standin, Delivered(since_s=since_s)) == set()


@pytest.mark.parametrize("rate_per_s", [14.0, 20.0, 1_000.0])
def test_the_poller_may_ask_faster_than_killmails_come(rate_per_s: float) -> None:
    assert requests_for(rate_per_s) > rate_per_s
