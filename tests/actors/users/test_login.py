"""A login: who begins it, what EVE says, and what the tables have then."""

import pytest
from sqlalchemy import insert

from actors.shared.tables import (
    ACCOUNTS,
    LOGIN_STATES,
    SESSIONS,
    TOKENS,
    USER_KILLMAILS,
    USERS,
)
from actors.users.forget import forget_character
from actors.users.login import InvalidState, begin_login, complete_login, esi_scopes
from actors.users.sessions import open_session
from actors.users.sso import LoginRequired, TokenForged
from actors.users.tokens import Keeper
from deploy.standin.server import Standin
from tests.support.esi import set_faults
from tests.support.login import CLIENT, characters, consent, log_in
from tests.support.tables import rows


async def test_a_login_stores_the_user_and_encrypted_tokens(
    keeper: Keeper, upstream: Standin
) -> None:
    character_id = characters(upstream)[0]
    logged_in = await log_in(keeper, character_id)
    (user,) = await rows(keeper.database, USERS)
    assert (user["character_id"], user["account_id"]) == (character_id, logged_in.account_id)
    assert (user["state"], user["scopes"]) == ("active", "esi-killmails.read_killmails.v1")
    assert user["next_sync_at"] == user["logged_in_at"]
    assert not user["sync_corporation"]
    (tokens,) = await rows(keeper.database, TOKENS)
    access = await keeper.access_token(character_id)
    assert access.encode() not in tokens["access_token"]
    assert keeper.vault.decrypt(tokens["access_token"]) == access
    assert await rows(keeper.database, LOGIN_STATES) == []


async def test_a_login_for_the_corporation_has_it_looked_up(
    keeper: Keeper, upstream: Standin
) -> None:
    await log_in(keeper, characters(upstream)[0], ("character", "corporation"))
    (user,) = await rows(keeper.database, USERS)
    assert user["sync_corporation"]
    assert user["next_enrollment_at"] == user["logged_in_at"]


async def test_a_state_is_used_once(keeper: Keeper, upstream: Standin) -> None:
    begun = await begin_login(keeper, esi_scopes(["character"]), CLIENT)
    code, state = await consent(begun.url, characters(upstream)[0])
    await complete_login(keeper, code, state, CLIENT)
    with pytest.raises(InvalidState):
        await complete_login(keeper, code, state, CLIENT)


async def test_a_state_of_another_client_is_refused_and_stays_valid(
    keeper: Keeper, upstream: Standin
) -> None:
    begun = await begin_login(keeper, esi_scopes(["character"]), CLIENT)
    code, state = await consent(begun.url, characters(upstream)[0])
    with pytest.raises(InvalidState):
        await complete_login(keeper, code, state, "another client")
    assert await rows(keeper.database, USERS) == []
    await complete_login(keeper, code, state, CLIENT)


async def test_a_code_that_eve_refuses_needs_a_new_login(keeper: Keeper, upstream: Standin) -> None:
    begun = await begin_login(keeper, esi_scopes(["character"]), CLIENT)
    _, state = await consent(begun.url, characters(upstream)[0])
    with pytest.raises(LoginRequired):
        await complete_login(keeper, "forged", state, CLIENT)


@pytest.mark.parametrize(
    "wrong", ["application", "audience", "issuer", "expired", "subject", "key", "none", "hmac"]
)
async def test_an_invalid_access_token_logs_nobody_in(
    keeper: Keeper, upstream: Standin, wrong: str
) -> None:
    set_faults(upstream, sso_token_wrong=(wrong,))
    with pytest.raises(TokenForged, match="access token"):
        await log_in(keeper, characters(upstream)[0])
    assert await rows(keeper.database, USERS) == await rows(keeper.database, TOKENS) == []


@pytest.mark.parametrize("issuer", ["host", "url", "slash"])
@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_each_form_of_the_issuer_and_each_algorithm_is_valid(
    keeper: Keeper, upstream: Standin, issuer: str, algorithm: str
) -> None:
    set_faults(upstream, sso_issuer=issuer, sso_alg=algorithm)
    character = characters(upstream)[0]
    assert (await log_in(keeper, character)).character_id == character


async def test_two_characters_of_one_account(keeper: Keeper, upstream: Standin) -> None:
    one, other = characters(upstream)[:2]
    first = await log_in(keeper, one)
    second = await log_in(keeper, other, account_id=first.account_id)
    assert second.account_id == first.account_id
    assert len(await rows(keeper.database, ACCOUNTS)) == 1


async def test_a_character_moves_to_the_account_that_adds_it(
    keeper: Keeper, upstream: Standin
) -> None:
    one, other = characters(upstream)[:2]
    first, second = await log_in(keeper, one), await log_in(keeper, other)
    await log_in(keeper, other, account_id=first.account_id)
    assert [row["account_id"] for row in await rows(keeper.database, ACCOUNTS)] == [
        first.account_id
    ]
    assert second.account_id != first.account_id


async def test_a_sold_character_is_taken_from_its_former_owner(
    keeper: Keeper, upstream: Standin
) -> None:
    sold = characters(upstream)[0]
    former = await log_in(keeper, sold)
    async with keeper.database.begin() as connection:
        await open_session(connection, former.account_id, "browser")
        await connection.execute(
            insert(USER_KILLMAILS).values(
                character_id=sold, killmail_id=1, source=f"esi:character/{sold}"
            )
        )
    set_faults(upstream, sso_sold=(sold,))
    new = await log_in(keeper, sold)
    assert new.account_id != former.account_id
    assert await rows(keeper.database, USER_KILLMAILS) == []
    assert await rows(keeper.database, SESSIONS) == []
    assert len(await rows(keeper.database, USERS)) == len(await rows(keeper.database, TOKENS)) == 1


async def test_a_forgotten_character_leaves_nothing(keeper: Keeper, upstream: Standin) -> None:
    logged_in = await log_in(keeper, characters(upstream)[0])
    async with keeper.database.begin() as connection:
        await open_session(connection, logged_in.account_id, "bearer")
        await forget_character(connection, logged_in.character_id)
    for table in (USERS, TOKENS, ACCOUNTS, SESSIONS):
        assert await rows(keeper.database, table) == []
