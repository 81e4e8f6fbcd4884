"""What users see and decide: their own data, and nobody else's."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from actors.shared.tables import (
    ACCOUNTS,
    DELAYED,
    IMPORTS,
    LEDGER,
    LOGIN_STATES,
    SESSIONS,
    TOKENS,
    USER_KILLMAILS,
    USERS,
)
from actors.users.sso import Sso
from tests.api.documents import fields_of, whole
from tests.api.login.browser import (
    AUTHENTICATE,
    ME,
    ON_BOTH,
    Gateway,
    Program,
    code_of,
    failures,
    program,
)
from tests.api.login.own_killmails import MINE, delay, list_killmails

DELAY = """
mutation ($id: Long!, $hours: Int!) {
  setPublicationDelay(characterId: $id, hours: $hours) { publicationDelayHours }
}
"""
CORPORATION = """
mutation ($id: Long!, $on: Boolean!) {
  setCorporationSync(characterId: $id, enabled: $on) { syncCorporation }
}
"""
PUBLIC = {
    "Query.killmail",
    "Query.killmails",
    "Query.explain",
    "Query.killmailsByIds",
    "Query.killmailsDateCounts",
    "Query.killStats",
    "Query.node",
    "Query.feed",
    "Query.alliance",
    "Query.alliances",
    "Query.corporation",
    "Query.corporations",
    "Query.character",
    "Query.characters",
    "Query.type",
    "Query.types",
    "Query.group",
    "Query.groups",
    "Query.solarSystem",
    "Query.solarSystems",
    "Query.constellation",
    "Query.constellations",
    "Query.region",
    "Query.regions",
    "Query.faction",
    "Query.factions",
    "Query.workerStatus",
    "Query.completeness",
    "Query.limits",
    "Query.authStatus",  # says that there is no login
    "Mutation.login",
    "Mutation.authenticateWithCode",
}
"""What takes no login."""
CREATE_KEY = 'mutation { createApiKey(name: "bot") { token key { id name } } }'
DELETE = "mutation { deleteMyAccount { revokedAtEve } }"


@pytest.mark.parametrize("of", ["Query", "Mutation"])
async def test_anonymous_clients_get_what_is_public_only(gateway: Gateway, of: str) -> None:
    """Each field of the schema is asked for: one that is added takes a login, or is listed here."""
    public = set()
    async with program(gateway) as asked:
        for field in fields_of(of):
            answer = await asked.query(whole(field, of=of))
            if [e["extensions"]["code"] for e in answer.get("errors", ())] != ["UNAUTHENTICATED"]:
                public.add(f"{of}.{field}")
            else:
                assert answer["data"] in (None, {field: None})
    assert public == {one for one in PUBLIC if one.startswith(of)}
    for table in (LOGIN_STATES, ACCOUNTS, SESSIONS, IMPORTS):
        begun = of == "Mutation" and table is LOGIN_STATES
        assert len(await gateway.rows(select(table))) == begun, table.name


async def test_nobody_reaches_another_users_character(gateway: Gateway) -> None:
    async with program(gateway) as asked, program(gateway) as victim:
        await victim.log_in(0, scopes="character, corporation")
        await asked.log_in(1)
        id_ = gateway.character(0).character_id
        refused = [
            await asked.query(MINE, filter={"characterId": id_}),
            await asked.query(DELAY, id=id_, hours=72),
            await asked.query(CORPORATION, id=id_, on=False),
            await asked.query(
                f"mutation {{ syncMyKillmails(input: {{characterId: {id_}}}) {{ success }} }}"
            ),
        ]
        assert [code_of(answer) for answer in refused] == ["NOT_FOUND"] * 4
        (user,) = await gateway.rows(select(USERS).where(USERS.c.character_id == id_))
        assert (user.publication_delay_h, user.sync_corporation) == (0, True)
        key = (await victim.query(CREATE_KEY))["data"]["createApiKey"]["key"]["id"]
        answer = await asked.query(f'mutation {{ revokeApiKey(id: "{key}") }}')
        assert code_of(answer) == "NOT_FOUND"
        assert (await asked.query("{ apiKeys { id } }"))["data"]["apiKeys"] == []


async def test_operator_is_who_the_setting_names(gateway: Gateway) -> None:
    async with program(gateway) as user, program(gateway) as operator:
        await user.log_in(0)
        await operator.log_in(3)
        assert (await user.query(ME))["data"]["me"]["roles"] == ["user"]
        assert (await operator.query(ME))["data"]["me"]["roles"] == ["user", "operator"]


@ON_BOTH
async def test_publication_delay_holds_for_what_is_delayed_now(gateway: Gateway) -> None:
    async with program(gateway) as asked:
        await asked.log_in()
        id_ = gateway.character().character_id
        await delay(gateway, 1, hours=72)
        await list_killmails(gateway, id_, 1)
        answer = await asked.query(DELAY, id=id_, hours=8)
        assert answer["data"]["setPublicationDelay"] == {"publicationDelayHours": 8}
        (row,) = await gateway.rows(select(DELAYED))
        assert row.publish_at == row.killmail_time + timedelta(hours=8)
        for hours in (-1, 2, 73):
            assert code_of(await asked.query(DELAY, id=id_, hours=hours)) == "BAD_USER_INPUT"


async def test_corporation_sync_needs_its_scopes(gateway: Gateway) -> None:
    async with program(gateway) as asked:
        id_ = gateway.character().character_id
        await asked.log_in()
        assert code_of(await asked.query(CORPORATION, id=id_, on=True)) == "FORBIDDEN"
        await asked.log_in(scopes="character, corporation")
        for on in (False, True):
            answer = await asked.query(CORPORATION, id=id_, on=on)
            assert answer["data"]["setCorporationSync"] == {"syncCorporation": on}
            (user,) = await gateway.rows(select(USERS))
            assert (user.next_enrollment_at is not None) == on


async def test_login_with_fewer_scopes_ends_what_they_were_for(gateway: Gateway) -> None:
    async with program(gateway) as asked:
        await asked.log_in(scopes="character, corporation")
        await asked.log_in(scopes="character")
        (user,) = await gateway.rows(select(USERS))
        assert (user.sync_corporation, user.next_enrollment_at) == (False, None)
        await asked.log_in(scopes="corporation")
        (user,) = await gateway.rows(select(USERS))
        assert (user.sync_corporation, user.next_sync_at) == (True, None)


async def test_api_key_cannot_turn_into_a_session(gateway: Gateway) -> None:
    async with program(gateway) as asked, program(gateway) as bot:
        await asked.log_in()
        start = await asked.begin()
        created = (await asked.query(CREATE_KEY))["data"]["createApiKey"]
        bot.token = created["token"]
        sessions, before = await gateway.rows(select(SESSIONS.c.token_hash)), failures("api_key")
        assert code_of(await bot.query("mutation { login { url } }")) == "FORBIDDEN"
        given = await asked.consent(start, 1)
        assert code_of(await bot.query(AUTHENTICATE, **given)) == "FORBIDDEN"
        callback = f"/auth/callback?code={given['code']}&state={given['state']}"
        for path in ("/auth/login", callback):
            assert (await _visit(bot, "GET", path))[0] == 403
        assert failures("api_key") == before + 4
        assert await gateway.rows(select(SESSIONS.c.token_hash)) == sessions
        # The owner's login goes on: nothing of it was used up.
        asked_again = await asked.query(AUTHENTICATE, **given)
        assert asked_again["data"]["authenticateWithCode"]["token"]


async def test_api_key_survives_logout(gateway: Gateway) -> None:
    async with program(gateway) as asked, program(gateway) as bot:
        await asked.log_in()
        bot.token = (await asked.query(CREATE_KEY))["data"]["createApiKey"]["token"]
        status, answer = await _visit(bot, "POST", "/auth/logout")
        assert (status, answer) == (403, {"error": "an API key can't do this: log in"})
        assert (await bot.query(ME))["data"]["me"]["roles"] == ["user"]


async def _visit(asked: Program, method: str, path: str) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {asked.token}"}
    url = f"{asked.gateway.address}{path}"
    async with asked.http.request(method, url, headers=headers, allow_redirects=False) as answer:
        return answer.status, await answer.json()


@ON_BOTH
async def test_api_key_reads_and_can_be_revoked(gateway: Gateway) -> None:
    async with program(gateway) as asked, program(gateway) as bot:
        await asked.log_in()
        created = (await asked.query(CREATE_KEY))["data"]["createApiKey"]
        bot.token = created["token"]
        assert (await bot.query(ME))["data"]["me"]["roles"] == ["user"]
        forbidden = [
            CREATE_KEY,
            DELETE,
            "mutation { refreshToken { token } }",
            "mutation { logout }",
            "mutation { setPublicationDelay(characterId: 1, hours: 0) { name } }",
            "mutation { setCorporationSync(characterId: 1, enabled: true) { name } }",
        ]
        for document in (*forbidden, f'mutation {{ revokeApiKey(id: "{created["key"]["id"]}") }}'):
            assert code_of(await bot.query(document)) == "FORBIDDEN"
        (listed,) = (await asked.query("{ apiKeys { id name } }"))["data"]["apiKeys"]
        assert listed == created["key"]
        revoked = await asked.query(f'mutation {{ revokeApiKey(id: "{listed["id"]}") }}')
        assert revoked["data"] == {"revokeApiKey": True}
        assert code_of(await bot.query(ME)) == "UNAUTHENTICATED"


async def test_auth_status_says_who_has_to_log_in_again_and_why(gateway: Gateway) -> None:
    document = """
    { authStatus { isAuthenticated reason characters { name authStatus authReason } } }
    """
    async with program(gateway) as asked:
        anonymous = (await asked.query(document))["data"]["authStatus"]
        assert (anonymous["isAuthenticated"], anonymous["characters"]) == (False, [])
        assert "/auth/login" in anonymous["reason"]
        await asked.log_in()
        good = (await asked.query(document))["data"]["authStatus"]
        assert (good["isAuthenticated"], good["reason"]) == (True, None)
        dead = {"state": "login_required", "state_reason": "Character grant missing/expired."}
        async with gateway.database.begin() as connection:
            await connection.execute(update(USERS).values(dead))
        bad = (await asked.query(document))["data"]["authStatus"]
        name = gateway.character().name
        assert bad["reason"] == f"log in again with {name} at /auth/login"
        assert bad["characters"] == [
            {"name": name, "authStatus": "login_required", "authReason": dead["state_reason"]}
        ]


@ON_BOTH
async def test_deleting_the_account_leaves_nothing_of_it(gateway: Gateway) -> None:
    async with program(gateway) as asked, program(gateway) as other:
        await asked.log_in(0)
        await asked.log_in(1)
        await asked.query(CREATE_KEY)
        await other.log_in(2)
        one, two, theirs = (gateway.character(n).character_id for n in range(3))
        await delay(gateway, 1, 2, hours=0)
        await list_killmails(gateway, one, 1, 2)
        await list_killmails(gateway, two, 1)
        await list_killmails(gateway, theirs, 2)
        async with gateway.database.begin() as connection:
            await connection.execute(
                update(USERS).where(USERS.c.character_id == theirs).values(publication_delay_h=24)
            )
            for source, position in ((f"esi:character/{one}", 3), ("r2z2:host", 4)):
                await connection.execute(insert(LEDGER).values(_pending(source, position)))
        granted = await grants(gateway)
        assert {one, two, theirs} == granted
        answer = await asked.query(DELETE)
        assert answer["data"]["deleteMyAccount"] == {"revokedAtEve": True}
        assert await grants(gateway) == {theirs}
        assert code_of(await asked.query(ME)) == "UNAUTHENTICATED"
        for table in (USERS, TOKENS, USER_KILLMAILS):
            assert {row.character_id for row in await gateway.rows(select(table))} == {theirs}
        assert len(await gateway.rows(select(ACCOUNTS))) == 1
        assert len(await gateway.rows(select(SESSIONS))) == 1
        (left,) = await gateway.rows(select(DELAYED))
        assert left.killmail_id == 2
        assert left.publish_at == left.killmail_time + timedelta(hours=24)
        assert [row.source for row in await gateway.rows(select(LEDGER))] == ["r2z2:host"]


async def test_account_is_deleted_while_eve_is_away(gateway: Gateway) -> None:
    async with program(gateway) as asked:
        await asked.log_in()
        await gateway.switch(sso_status=503)
        answer = await asked.query(DELETE)
        assert answer["data"]["deleteMyAccount"] == {"revokedAtEve": False}
        assert await gateway.rows(select(TOKENS)) == []


async def test_account_is_deleted_whose_token_cannot_be_decrypted(gateway: Gateway) -> None:
    async with program(gateway) as asked:
        for number in range(3):
            await asked.log_in(number)
        lost = gateway.character(0).character_id
        async with gateway.database.begin() as connection:
            of_lost = update(TOKENS).where(TOKENS.c.character_id == lost)
            await connection.execute(of_lost.values(refresh_token=b"of a key that is gone"))
        answer = await asked.query(DELETE)
        assert answer["data"]["deleteMyAccount"] == {"revokedAtEve": False}
        assert await grants(gateway) == {lost}
        assert await gateway.rows(select(USERS)) == []


async def test_account_is_deleted_whatever_happens_to_a_revocation(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoke, asked_for = Sso.revoke, 0

    async def fail_first(self: Sso, token: str) -> None:
        nonlocal asked_for
        asked_for += 1
        if asked_for == 1:
            raise RuntimeError("nobody thought of this")
        await revoke(self, token)

    monkeypatch.setattr(Sso, "revoke", fail_first)
    async with program(gateway) as asked:
        for number in range(3):
            await asked.log_in(number)
        answer = await asked.query(DELETE)
        assert answer["data"]["deleteMyAccount"] == {"revokedAtEve": False}
        assert len(await grants(gateway)) == 1


def _pending(source: str, position: int) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "source": source,
        "position": position,
        "received_at": now,
        "next_try_at": now,
        "kind": "received",
    }


async def grants(gateway: Gateway) -> set[int]:
    """Characters whose refresh token EVE still takes."""
    counted = gateway.standin.playback.grants.counted(gateway.standin.playback.now_s())
    return {int(id_) for id_, held in counted.items() if held["refresh_tokens"]}
