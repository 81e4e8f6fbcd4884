"""Each owner of a token has budgets of its own."""

import pytest

from actors.esi.budget import (
    ALL,
    CHAR_DETAIL,
    CHAR_KILLMAIL,
    CORP_KILLMAIL,
    KILLMAIL,
    Paused,
    Spent,
    bucket_of,
    terms_of,
)
from actors.esi.local_budget import LocalBudget
from actors.shared.settings import Settings
from tests.support.budgets import MakeBudget

ONE, OTHER = 2_112_000_001, 2_112_000_002


@pytest.mark.parametrize(
    ("group", "tokens"), [(CHAR_KILLMAIL, 30), (CORP_KILLMAIL, 30), (CHAR_DETAIL, 600)]
)
async def test_an_owner_spends_its_own_budget(
    make_budget: MakeBudget, group: str, tokens: int
) -> None:
    budget = make_budget(terms_of(Settings()))
    await budget.charge(await budget.reserve(group, ONE), tokens - 4, 4)
    with pytest.raises(Spent, match=str(ONE)):
        await budget.reserve(group, ONE)
    await budget.charge(await budget.reserve(group, OTHER), 2, tokens - 2)
    await budget.reserve(KILLMAIL)


async def test_an_owner_always_has_the_tokens_for_a_denied_request(make_budget: MakeBudget) -> None:
    budget = make_budget(terms_of(Settings()))
    for sent in range(13):
        await budget.charge(await budget.reserve(CHAR_KILLMAIL, ONE), 2, 28 - 2 * sent)
    with pytest.raises(Spent):  # 4 are left, and a denied request would cost 5
        await budget.reserve(CHAR_KILLMAIL, ONE)


async def test_a_pause_of_an_owner_pauses_nobody_else(make_budget: MakeBudget) -> None:
    budget = make_budget(terms_of(Settings()))
    assert await budget.pause(bucket_of(CHAR_KILLMAIL, ONE), 60_000, "too many")
    with pytest.raises(Paused) as paused:
        await budget.reserve(CHAR_KILLMAIL, ONE)
    assert paused.value.scope == f"char-killmail/{ONE}"
    await budget.reserve(CHAR_KILLMAIL, OTHER)
    await budget.reserve(CHAR_DETAIL, ONE)


@pytest.mark.parametrize("scope", [CHAR_KILLMAIL, ALL])
async def test_a_pause_of_a_group_or_of_everything_holds_for_each_owner(
    make_budget: MakeBudget, scope: str
) -> None:
    budget = make_budget(terms_of(Settings()))
    await budget.pause(scope, 60_000, "ESI is overloaded")
    for owner in (ONE, OTHER):
        with pytest.raises(Paused):
            await budget.reserve(CHAR_KILLMAIL, owner)


async def test_owners_that_are_done_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ms = 0.0
    monkeypatch.setattr("actors.esi.local_budget._now_ms", lambda: now_ms)
    budget = LocalBudget(terms_of(Settings()))
    for owner in range(1, 1001):
        now_ms += 10_000
        await budget.charge(await budget.reserve(CHAR_KILLMAIL, owner), 2, 28)
        await budget.pause(bucket_of(CHAR_KILLMAIL, owner), 1_000, "too many")
    assert len(budget._buckets) < 100
    assert len(budget._pauses) == 1
