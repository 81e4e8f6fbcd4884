"""A delayed killmail is in no answer but those to its owner."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp
import msgspec
from fastapi.routing import APIRoute
from graphql import GraphQLObjectType
from sqlalchemy import insert

from actors.shared.reference import Reference, encode_reference
from actors.shared.tables import DELAYED, USER_KILLMAILS
from api.graphql import SCHEMA
from api.login.routes import ROUTER as LOGIN
from api.rest import ROUTER as REST
from tests.api.gateway import Writer, a_killmail, connect
from tests.api.login.browser import Gateway, Program, program

HIDDEN, PUBLIC = 777_000_111, 777_000_222
MINE: Final = "myKillmails"
QUERIES: Final = {
    "killmail": f"{{ killmail(id: {HIDDEN}) {{ killmailId }} }}",
    "killmails": "{ killmails(first: 200) { nodes { killmailId } edges { cursor } } }",
    "feed": "{ feed(after: 0, first: 1000) { lastSequence entries { killmail { killmailId } } } }",
    "myKillmails": "{ myKillmails(limit: 200) { killmailId } }",
    "syncStatus": "{ syncStatus { __typename } }",
    "imports": "{ imports { killmails } }",
    "me": "{ me { accountId characters { characterId } } }",
    "authStatus": "{ authStatus { __typename } }",
    "apiKeys": "{ apiKeys { id } }",
}
"""A query for each field that may name or count killmails."""
NOT_ABOUT_KILLMAILS: Final = frozenset({"workerStatus"})
SNAPSHOTS: Final = frozenset({"alliance", "corporation"})
"""Their counts are computed from the table `killmails`, which has no delayed one."""


async def hide(gateway: Gateway) -> None:
    """Delay a killmail of the first character."""
    now = datetime.now(UTC)
    character_id = gateway.character(0).character_id
    source = f"esi:character/{character_id}"
    body = msgspec.Raw(a_killmail(HIDDEN))
    reference = Reference(source, HIDDEN, 0.0, HIDDEN, "a" * 40, body=body)
    async with gateway.database.begin() as connection:
        await connection.execute(
            insert(USER_KILLMAILS).values(
                character_id=character_id, killmail_id=HIDDEN, source=source
            )
        )
        await connection.execute(
            insert(DELAYED).values(
                killmail_id=HIDDEN,
                killmail_time=now,
                reference=encode_reference(reference),
                publish_at=now + timedelta(hours=3),
            )
        )


def test_each_query_is_asked() -> None:
    fields = SCHEMA.query_type.fields if SCHEMA.query_type else {}
    assert isinstance(SCHEMA.query_type, GraphQLObjectType)
    assert fields.keys() - NOT_ABOUT_KILLMAILS - SNAPSHOTS == QUERIES.keys()


async def test_no_query_finds_it(gateway: Gateway, writer: Writer) -> None:
    await hide(gateway)
    await writer.add(PUBLIC)
    async with program(gateway) as owner, program(gateway) as other, program(gateway) as stranger:
        await owner.log_in(0)
        await other.log_in(1)
        for name, query in QUERIES.items():
            found = {who: await text_of(who, query) for who in (owner, other, stranger)}
            assert str(HIDDEN) not in found[other] + found[stranger], name
            assert (str(HIDDEN) in found[owner]) == (name == MINE), name
        assert '"lastSequence":1' in await text_of(stranger, QUERIES["feed"])


async def text_of(client: Program, query: str) -> str:
    return msgspec.json.encode(await client.query(query)).decode()


async def test_no_address_finds_it(gateway: Gateway) -> None:
    await hide(gateway)
    routes = [r for r in (*REST.routes, *LOGIN.routes) if isinstance(r, APIRoute)]
    paths = [r.path.format(killmail_id=HIDDEN) for r in routes if "GET" in (r.methods or ())]
    assert f"/killmails/{HIDDEN}" in paths
    async with aiohttp.ClientSession(gateway.address) as http:
        for path in paths:
            async with http.get(path, allow_redirects=False) as answer:
                text = await answer.text()
            if answer.status == 404:  # says which one isn't stored
                text = text.replace(str(HIDDEN), "", 1)
            assert str(HIDDEN) not in text, path
        async with http.get(f"/killmails/{HIDDEN}") as answer:
            assert answer.status == 404


async def test_no_subscription_sends_it(gateway: Gateway, writer: Writer) -> None:
    await hide(gateway)
    async with aiohttp.ClientSession(gateway.address) as http:
        for field in SCHEMA.subscription_type.fields if SCHEMA.subscription_type else {}:
            if field in ("killmailAdded", "feedAdded"):
                assert await first_of(http, field, writer) != HIDDEN


async def first_of(http: aiohttp.ClientSession, field: str, writer: Writer) -> Any:
    """Give the first killmail that a subscription sends from the beginning on."""
    inner = "killmailId" if field == "killmailAdded" else "killmail { killmailId }"
    async with connect(http) as connection, asyncio.timeout(10):
        await connection.subscribe(f"subscription {{ {field}(after: 0) {{ {inner} }} }}")
        if writer.last == 0:
            await writer.add(PUBLIC)
        sent = (await connection.next())[field]
    return sent.get("killmailId") or sent["killmail"]["killmailId"]
