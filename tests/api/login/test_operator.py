"""What operators see and decide of all users, and nobody else does."""

from sqlalchemy import select, update

from actors.shared.tables import USERS
from actors.users.tokens import SOLD
from tests.api.login.browser import ME, ON_BOTH, Gateway, code_of, program

LIST = "{ users { characterId } }"
PREMIUM = """
mutation ($id: Long!, $on: Boolean!) {
  setPremium(characterId: $id, enabled: $on) { characterId isPremium }
}
"""
CREATE_KEY = 'mutation { createApiKey(name: "bot") { token } }'


@ON_BOTH
async def test_others_are_refused(gateway: Gateway) -> None:
    async with program(gateway) as anyone, program(gateway) as user, program(gateway) as operator:
        await user.log_in(0)
        await operator.log_in(3)
        id_ = gateway.character(0).character_id
        created = await operator.query(CREATE_KEY)
        async with program(gateway) as by_key:
            by_key.token = created["data"]["createApiKey"]["token"]
            for asked, code in (
                (anyone, "UNAUTHENTICATED"),
                (user, "FORBIDDEN"),
                (by_key, "FORBIDDEN"),
            ):
                assert code_of(await asked.query(LIST)) == code
                assert code_of(await asked.query(PREMIUM, id=id_, on=True)) == code
    (row,) = await gateway.rows(select(USERS).where(USERS.c.character_id == id_))
    assert not row.is_premium


async def test_character_that_was_sold_leaves_no_operator_behind(gateway: Gateway) -> None:
    async with program(gateway) as former:
        await former.log_in(3)
        assert (await former.query(ME))["data"]["me"]["roles"] == ["user", "operator"]
        # As the next refresh of its tokens records it.
        async with gateway.database.begin() as connection:
            sold = {"state": "login_required", "state_reason": SOLD}
            await connection.execute(update(USERS).values(sold))
        assert (await former.query(ME))["data"]["me"]["roles"] == ["user"]
        assert code_of(await former.query(LIST)) == "FORBIDDEN"
        id_ = gateway.character(3).character_id
        assert code_of(await former.query(PREMIUM, id=id_, on=True)) == "FORBIDDEN"


@ON_BOTH
async def test_all_users_are_listed_by_name(gateway: Gateway) -> None:
    async with program(gateway) as user, program(gateway) as operator:
        await user.log_in(0)
        await user.log_in(1)
        await operator.log_in(3)
        logged_in = [gateway.character(n) for n in (0, 1, 3)]
        by_name = [one.character_id for one in sorted(logged_in, key=lambda one: one.name)]

        async def listed(arguments: str = "") -> list[int]:
            answer = await operator.query(f"{{ users{arguments} {{ characterId }} }}")
            return [one["characterId"] for one in answer["data"]["users"]]

        assert await listed() == by_name
        assert await listed("(limit: 2)") == by_name[:2]
        one = logged_in[0]
        assert await listed(f'(name: "{one.name.upper()}")') == [one.character_id]
        assert await listed(f'(name: "{one.character_id}")') == [one.character_id]
        assert await listed('(name: "%")') == []
        assert await listed(f'(name: "{10**30}")') == []
        async with gateway.database.begin() as connection:
            dead = update(USERS).where(USERS.c.character_id == one.character_id)
            await connection.execute(dead.values(state="login_required"))
        assert await listed("(state: login_required)") == [one.character_id]
        assert await listed("(state: ok)") == [id_ for id_ in by_name if id_ != one.character_id]
        for limit in (0, 201):
            refused = await operator.query(f"{{ users(limit: {limit}) {{ name }} }}")
            assert code_of(refused) == "BAD_USER_INPUT"


@ON_BOTH
async def test_a_character_becomes_premium(gateway: Gateway) -> None:
    async with program(gateway) as user, program(gateway) as operator:
        await user.log_in(0)
        await operator.log_in(3)
        id_ = gateway.character(0).character_id
        for on in (True, True, False):
            answer = await operator.query(PREMIUM, id=id_, on=on)
            assert answer["data"]["setPremium"] == {"characterId": id_, "isPremium": on}
            listed = await operator.query(
                "query ($on: Boolean) { users(premium: $on) { characterId } }", on=True
            )
            assert listed["data"]["users"] == [{"characterId": id_}] * on
        assert code_of(await operator.query(PREMIUM, id=1, on=True)) == "NOT_FOUND"
