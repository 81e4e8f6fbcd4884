"""Access tokens: refreshed ahead of expiry, by one process at a time, and given up for good."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from joserfc.jwk import KeySet
from pydantic import SecretStr
from sqlalchemy import update

from actors.shared.errors import Misconfigured, RetryLater
from actors.shared.settings import Settings
from actors.shared.tables import TOKENS, USERS
from actors.users import tokens as tokens_module
from actors.users.sso import LoginRequired, Sso, SsoUnavailable, TokenForged, Unverified
from actors.users.tokens import Keeper, rotate_keys
from actors.users.vault import Undecryptable, open_vault
from deploy.standin.server import Standin
from tests.support.esi import set_faults
from tests.support.login import KEY, characters, log_in
from tests.support.tables import rows


@pytest.fixture
async def character_id(keeper: Keeper, upstream: Standin) -> int:
    """A character that is logged in and whose access token expires within a minute."""
    logged_in = await log_in(keeper, characters(upstream)[0])
    await expire(keeper)
    return logged_in.character_id


async def expire(keeper: Keeper) -> None:
    async with keeper.database.begin() as connection:
        soon = datetime.now(UTC) + timedelta(minutes=1)
        await connection.execute(update(USERS).values(expires_at=soon))


async def user(keeper: Keeper) -> Any:
    (row,) = await rows(keeper.database, USERS)
    return row


def token_answers(upstream: Standin) -> int:
    requests = upstream.playback.stats.requests
    return sum(n for (_, endpoint, _), n in requests.items() if endpoint == "token")


async def test_a_token_is_refreshed_ahead_of_expiry(keeper: Keeper, character_id: int) -> None:
    (before,) = await rows(keeper.database, TOKENS)
    token = await keeper.access_token(character_id)
    (after,) = await rows(keeper.database, TOKENS)
    assert keeper.vault.decrypt(after["access_token"]) == token
    assert after["access_token"] != before["access_token"]
    assert (await user(keeper))["expires_at"] > datetime.now(UTC) + timedelta(minutes=15)
    assert await keeper.access_token(character_id) == token


async def test_a_rotated_refresh_token_is_stored(
    keeper: Keeper, upstream: Standin, character_id: int
) -> None:
    set_faults(upstream, sso_rotation=True)
    for _ in range(3):
        await keeper.access_token(character_id)
        await expire(keeper)
    assert (await user(keeper))["state"] == "active"


async def test_one_of_many_processes_refreshes(
    keeper: Keeper, upstream: Standin, character_id: int
) -> None:
    set_faults(upstream, sso_rotation=True, sso_latency_ms=200)
    results = await asyncio.gather(
        *(keeper.access_token(character_id) for _ in range(5)), return_exceptions=True
    )
    tokens = [result for result in results if isinstance(result, str)]
    assert len(tokens) == 1
    assert all(isinstance(r, str | RetryLater) for r in results)
    assert await keeper.access_token(character_id) == tokens[0]
    assert (await user(keeper))["state"] == "active"


@pytest.mark.parametrize("error", ["token", "grant", "migrate", "expired", "client"])
async def test_a_dead_token_marks_the_user(
    keeper: Keeper, upstream: Standin, character_id: int, error: str
) -> None:
    set_faults(upstream, sso_fail_next=1, sso_error=error)
    with pytest.raises(LoginRequired):
        await keeper.access_token(character_id)
    marked = await user(keeper)
    assert (marked["state"], marked["next_sync_at"]) == ("login_required", None)
    assert marked["state_reason"]
    assert await rows(keeper.database, TOKENS) == []
    with pytest.raises(LoginRequired, match="isn't logged in"):
        await keeper.access_token(character_id)


async def test_a_new_login_revives_the_user(
    keeper: Keeper, upstream: Standin, character_id: int
) -> None:
    set_faults(upstream, sso_fail_next=1)
    with pytest.raises(LoginRequired):
        await keeper.access_token(character_id)
    await log_in(keeper, character_id)
    revived = await user(keeper)
    assert (revived["state"], revived["state_reason"]) == ("active", None)
    assert await keeper.access_token(character_id)


async def test_a_sold_character_loses_its_tokens(
    keeper: Keeper, upstream: Standin, character_id: int
) -> None:
    set_faults(upstream, sso_sold=(character_id,))
    with pytest.raises(LoginRequired):
        await keeper.access_token(character_id)
    assert (await user(keeper))["state"] == "login_required"
    assert await rows(keeper.database, TOKENS) == []


@pytest.mark.parametrize(
    ("faults", "error"),
    [
        ({"sso_status": 503}, SsoUnavailable),
        ({"sso_fail_next": 1, "sso_error": "unavailable"}, SsoUnavailable),
        ({"sso_fail_next": 1, "sso_error": "credentials"}, Misconfigured),
    ],
)
async def test_a_temporary_failure_keeps_the_tokens(
    keeper: Keeper,
    upstream: Standin,
    character_id: int,
    faults: dict[str, Any],
    error: type[Exception],
) -> None:
    set_faults(upstream, **faults)
    with pytest.raises(error):
        await keeper.access_token(character_id)
    set_faults(upstream)
    assert await keeper.access_token(character_id)
    assert (await user(keeper))["state"] == "active"


async def test_the_lease_of_a_process_that_died_expires(keeper: Keeper, character_id: int) -> None:
    async with keeper.database.begin() as connection:
        died = {"refreshing_until": datetime.now(UTC) + timedelta(seconds=20)}
        await connection.execute(update(TOKENS).values(died))
    with pytest.raises(RetryLater):
        await keeper.access_token(character_id)
    async with keeper.database.begin() as connection:
        over = {"refreshing_until": datetime.now(UTC) - timedelta(seconds=1)}
        await connection.execute(update(TOKENS).values(over))
    assert await keeper.access_token(character_id)


async def test_an_answer_that_is_lost_after_a_rotation_asks_for_a_login(
    keeper: Keeper, upstream: Standin, character_id: int
) -> None:
    set_faults(upstream, sso_rotation=True, sso_lost_next=1)
    with pytest.raises(SsoUnavailable):
        await keeper.access_token(character_id)
    with pytest.raises(LoginRequired):
        await keeper.access_token(character_id)
    assert (await user(keeper))["state_reason"]


async def test_keys_are_rotated(keeper: Keeper, character_id: int) -> None:
    new = Fernet.generate_key().decode()
    both = open_vault(Settings(token_keys=SecretStr(f"{new},{KEY}")))
    assert await rotate_keys(keeper.database, both) == 1
    assert await rotate_keys(keeper.database, both) == 1
    (row,) = await rows(keeper.database, TOKENS)
    only_new = open_vault(Settings(token_keys=SecretStr(new)))
    assert only_new.decrypt(row["access_token"])
    with pytest.raises(Undecryptable):
        await rotate_keys(keeper.database, keeper.vault)


async def test_a_rotated_token_is_stored_when_the_keys_cannot_be_read(
    keeper: Keeper, upstream: Standin, character_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_faults(upstream, sso_rotation=True)
    real = Sso._get

    async def fails(self: Sso, url: str) -> bytes:
        if "jwks" in url:
            raise SsoUnavailable("503")
        return await real(self, url)

    keeper.sso._keys = None
    with monkeypatch.context() as patch:
        patch.setattr(Sso, "_get", fails)
        with pytest.raises(Unverified):
            await keeper.access_token(character_id)
    assert await keeper.access_token(character_id)
    assert (await user(keeper))["state"] == "active"


async def test_a_rotated_token_is_stored_when_the_access_token_is_invalid(
    keeper: Keeper, upstream: Standin, character_id: int
) -> None:
    set_faults(upstream, sso_rotation=True, sso_token_wrong=("audience",))
    with pytest.raises(TokenForged):
        await keeper.access_token(character_id)
    set_faults(upstream, sso_rotation=True)
    assert await keeper.access_token(character_id)
    assert (await user(keeper))["state"] == "active"


async def test_new_keys_of_eve_are_read(
    keeper: Keeper, upstream: Standin, character_id: int
) -> None:
    await keeper.access_token(character_id)
    keeper.sso._keys = KeySet.import_key_set(
        {"keys": [{"kty": "oct", "kid": "an older key", "k": "c2VjcmV0c2VjcmV0c2VjcmV0"}]}
    )
    await expire(keeper)
    assert await keeper.access_token(character_id)


async def test_a_login_during_a_refresh_that_eve_refuses_stays_valid(
    keeper: Keeper, upstream: Standin, character_id: int
) -> None:
    set_faults(upstream, sso_fail_next=1, sso_error="token", sso_latency_ms=300)
    before = token_answers(upstream)
    refreshing = asyncio.create_task(keeper.access_token(character_id))
    async with asyncio.timeout(10):
        while token_answers(upstream) == before:
            await asyncio.sleep(0.01)
    async with keeper.database.begin() as connection:  # as a login does
        tokens = {"updated_at": datetime.now(UTC), "refreshing_until": None}
        await connection.execute(update(TOKENS).values(tokens))
    with pytest.raises(RetryLater):
        await refreshing
    assert (await user(keeper))["state"] == "active"
    set_faults(upstream)
    assert await keeper.access_token(character_id)


async def test_a_refresh_ends_before_its_lease(
    keeper: Keeper, upstream: Standin, character_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert timedelta(seconds=tokens_module.REFRESH_S) < tokens_module.LEASE
    monkeypatch.setattr(tokens_module, "REFRESH_S", 0.2)
    set_faults(upstream, sso_latency_ms=5_000)
    with pytest.raises(SsoUnavailable, match="didn't answer"):
        await keeper.access_token(character_id)
    set_faults(upstream)
    assert await keeper.access_token(character_id)
