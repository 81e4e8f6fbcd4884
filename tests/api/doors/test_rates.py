"""How often one client may ask."""

import asyncio

import pytest

from api.doors import rates
from api.doors.rates import Rate, TooOften


async def test_a_second_s_worth_is_allowed_at_once_and_then_the_pace() -> None:
    rate = Rate("test", 20)
    for _ in range(20):
        rate.count("me")
    with pytest.raises(TooOften, match="20 requests per second"):
        rate.count("me")
    rate.count("you")
    await asyncio.sleep(0.06)
    rate.count("me")


async def test_a_pace_below_one_a_second_allows_one() -> None:
    rate = Rate("test", 0.1)
    rate.count("me")
    with pytest.raises(TooOften, match=r"0\.1 requests"):
        rate.count("me")


async def test_clients_that_wait_for_nothing_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rates, "MAX_CLIENTS", 3)
    rate = Rate("test", 100)
    for client in range(4):
        rate.count(str(client))
        await asyncio.sleep(0.011)
    rate.count("last")
    assert len(rate._due_s) <= 2
