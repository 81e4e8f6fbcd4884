"""Imports from zKillboard: of one's own characters only."""

from sqlalchemy import select

from actors.shared.tables import IMPORTS
from tests.api.login.browser import Gateway, code_of, program

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


async def test_strangers_import_nothing(gateway: Gateway) -> None:
    own, foreign = gateway.character().character_id, gateway.character(1).character_id
    async with program(gateway) as client:
        assert code_of(await client.query(IMPORT, id=own)) == "UNAUTHENTICATED"
        await client.log_in()
        assert code_of(await client.query(IMPORT, id=foreign)) == "NOT_FOUND"
    assert await gateway.rows(select(IMPORTS)) == []
