"""Imports from zKillboard: of one's own characters only."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update

from actors.shared.tables import IMPORTS, USERS
from tests.api.login.browser import ON_BOTH, Gateway, code_of, program

IMPORT = "mutation ($id: Long!) { importFromZkillboard(characterId: $id) { characterId state } }"
IMPORTED = "{ imports { characterId state reason killmails } }"


async def test_an_import_is_requested_and_listed(gateway: Gateway) -> None:
    own = gateway.character().character_id
    async with program(gateway) as client:
        await client.log_in()
        asked = await client.query(IMPORT, id=own)
        assert asked["data"]["importFromZkillboard"] == {"characterId": own, "state": "running"}
        (listed,) = (await client.query(IMPORTED))["data"]["imports"]
    assert listed == {"characterId": own, "state": "running", "reason": None, "killmails": 0}
    (row,) = await gateway.rows(select(IMPORTS))
    assert (row.entity, row.requested_by) == ("character", own)


@ON_BOTH
async def test_an_import_begins_anew_once_a_day_at_most(gateway: Gateway) -> None:
    own = gateway.character().character_id

    async def end(state: str, hours_ago: float) -> None:
        requested_at = datetime.now(UTC) - timedelta(hours=hours_ago)
        async with gateway.database.begin() as connection:
            values = {"state": state, "created_at": requested_at, "next_page": 7}
            await connection.execute(update(IMPORTS).values(values))

    async with program(gateway) as client:
        await client.log_in()
        await client.query(IMPORT, id=own)
        for state in ("done", "failed"):
            await end(state, hours_ago=23.9)
            refused = await client.query(IMPORT, id=own)
            assert code_of(refused) == "RATE_LIMITED"
            left_s = refused["errors"][0]["extensions"]["retryAfterSeconds"]
            assert 300 < left_s <= 360
            (row,) = await gateway.rows(select(IMPORTS))
            assert (row.state, row.next_page) == (state, 7)
            await end(state, hours_ago=24.1)
            begun = (await client.query(IMPORT, id=own))["data"]["importFromZkillboard"]
            assert begun["state"] == "running"
            (row,) = await gateway.rows(select(IMPORTS))
            assert (row.state, row.next_page) == ("running", 1)


async def test_character_that_has_to_log_in_again_imports_nothing(gateway: Gateway) -> None:
    async with program(gateway) as client:
        await client.log_in()
        async with gateway.database.begin() as connection:
            await connection.execute(update(USERS).values(state="login_required"))
        refused = await client.query(IMPORT, id=gateway.character().character_id)
        assert code_of(refused) == "FORBIDDEN"
        assert f"log in again with {gateway.character().name}" in refused["errors"][0]["message"]
    assert await gateway.rows(select(IMPORTS)) == []


async def test_strangers_import_nothing(gateway: Gateway) -> None:
    own, foreign = gateway.character().character_id, gateway.character(1).character_id
    async with program(gateway) as client:
        assert code_of(await client.query(IMPORT, id=own)) == "UNAUTHENTICATED"
        await client.log_in()
        assert code_of(await client.query(IMPORT, id=foreign)) == "NOT_FOUND"
    assert await gateway.rows(select(IMPORTS)) == []
