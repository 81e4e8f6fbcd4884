"""A delayed killmail is in no answer but those to its owner.

Each answer is asked for three times: before the killmail is there, while it is delayed, and when it
is public. The first two are equal, so that no number or page tells that it exists; the third one
shows that the question would have found it.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp
import msgspec
import pytest
from fastapi.routing import APIRoute
from sqlalchemy import insert

from actors.killmails.persist import read, store
from actors.shared.killmail import killmail_hash, parse_killmail
from actors.shared.reference import Reference, encode_reference
from actors.shared.tables import ALLIANCES, CORPORATIONS
from actors.snapshots.take import take_day
from actors.sync.listed import record_listed
from actors.users.delay import set_publication_delay
from api.login.routes import ROUTER as LOGIN
from api.rest import ROUTER as REST
from api.rest_queries import ROUTER as QUERIES
from tests.api.documents import fields_of, whole
from tests.api.gateway import Writer, a_killmail, connect
from tests.api.login.browser import ON_BOTH, Gateway, Program, program

HIDDEN, PUBLIC = 777_000_111, 777_000_222
ALLIANCE, CORPORATION = 99_000_111, 98_000_111
OF_PUBLIC: Final = {
    *("killmail", "killmails", "killmails of one", "feed", "killStats"),
    *("alliance", "alliances", "corporation", "corporations"),
}
"""Queries whose answers to everybody change with a public killmail."""
OF_OWNER: Final = {"myKillmails", "myKillmails of the owner"}
"""Queries whose answers to the owner change with a delayed one."""
FEEDS: Final = {
    "killmailAdded": "killmailId",
    "killmailFeed": "... on KillmailAdded { killmail { killmailId } }",
}
CHANGING: Final = frozenset(
    {"/", "/health", "/health/redis", "/metrics", "/auth/login", "/auth/callback"}
)
"""Addresses whose answers have times, counts of requests, or secrets made anew."""


@dataclass
class Kill:
    """A killmail that the first character's sync brings, seen by the alliance of the second."""

    gateway: Gateway
    writer: Writer

    def __post_init__(self) -> None:
        self.killed_at = datetime.now(UTC) - timedelta(minutes=30)
        self.owner_id = self.gateway.character(0).character_id
        victim = {"character_id": self.gateway.character(1).character_id, "damage_taken": 1}
        victim |= {"alliance_id": ALLIANCE, "corporation_id": CORPORATION, "ship_type_id": 2}
        time = f"{self.killed_at:%Y-%m-%dT%H:%M:%SZ}"
        self.body = a_killmail(HIDDEN, killmail_time=time, victim=victim)
        source, hash_ = f"esi:character/{self.owner_id}", killmail_hash(parse_killmail(self.body))
        self.reference = Reference(source, HIDDEN, 0.0, HIDDEN, hash_, body=msgspec.Raw(self.body))

    async def prepare(self) -> None:
        """Have the owner delay, and alliance and corporation known, as by other killmails."""
        later = datetime.now(UTC) + timedelta(hours=1)
        known = {"name": "Red", "ticker": "RED", "state": "active", "expires_at": later}
        async with self.gateway.database.begin() as connection:
            await connection.execute(insert(ALLIANCES), known | {"alliance_id": ALLIANCE})
            await connection.execute(insert(CORPORATIONS), known | {"corporation_id": CORPORATION})
            await set_publication_delay(connection, self.owner_id, 24)

    async def hide(self) -> None:
        """List and persist it, as the actors do."""
        source, listed = self.reference.source, [(HIDDEN, self.reference.hash)]
        await record_listed(self.gateway.database, source, self.owner_id, listed)
        await self._persist(self.reference)

    async def publish(self) -> None:
        """Persist what another source gives."""
        await self._persist(msgspec.structs.replace(self.reference, source="r2z2:test"))

    async def _persist(self, reference: Reference) -> None:
        stored = await store(self.gateway.database, *read([encode_reference(reference)]))
        self.writer.last += len(stored)
        await self.writer.publish(*(one.entry for one in stored))
        await take_day(self.gateway.database, self.killed_at.date())


@pytest.fixture
async def kill(gateway: Gateway, writer: Writer) -> Kill:
    await writer.add(PUBLIC)
    return Kill(gateway, writer)


@asynccontextmanager
async def viewers(kill: Kill) -> AsyncIterator[dict[str, Program]]:
    """The owner, the victim, an operator, and somebody who isn't logged in."""
    gateway = kill.gateway
    async with (
        program(gateway) as owner,
        program(gateway) as victim,
        program(gateway) as operator,
        program(gateway) as stranger,
    ):
        await owner.log_in(0)
        await victim.log_in(1)
        await operator.log_in(3)
        await kill.prepare()
        yield {"owner": owner, "victim": victim, "operator": operator, "stranger": stranger}


def documents(kill: Kill) -> Mapping[str, str]:
    """Ask each query for all that it has."""
    day = f'(day: "{kill.killed_at:%Y-%m-%d}")'
    arguments = {
        "Query.killmail": f"(id: {HIDDEN})",
        "Query.killmails": "(first: 100)",
        "Query.feed": "(after: 0, first: 50)",
        "Query.myKillmails": "(limit: 200)",
        "Query.alliance": f"(id: {ALLIANCE})",
        "Query.alliances": f"(ids: [{ALLIANCE}])",
        "Query.corporation": f"(id: {CORPORATION})",
        "Query.corporations": f"(ids: [{CORPORATION}])",
        "Alliance.metrics": day,
        "Corporation.metrics": day,
    }
    names = fields_of("Query").keys() - {"limits"}  # what is left of a budget always changes
    asked = {name: whole(name, arguments) for name in names}
    of_owner = f"(filter: {{characterId: {kill.owner_id}}})"
    return asked | {
        "killmails of one": "{ killmails(first: 1) { pageInfo { hasNextPage endCursor } } }",
        "myKillmails of the owner": f"{{ myKillmails{of_owner} {{ killmailId }} }}",
    }


async def answers(clients: Mapping[str, Program], kill: Kill) -> dict[str, dict[str, Any]]:
    """Give the answers by viewer and query."""
    asked = documents(kill)
    return {
        who: {name: await client.query(document) for name, document in asked.items()}
        for who, client in clients.items()
    }


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> set[str]:
    return {name for name in one if one[name] != other[name]}


@ON_BOTH
async def test_no_query_tells_anybody_else_that_it_exists(kill: Kill) -> None:
    async with viewers(kill) as clients:
        before = await answers(clients, kill)
        await kill.hide()
        hidden = await answers(clients, kill)
        await kill.publish()
        public = await answers(clients, kill)
    changed = {who: differences(before[who], hidden[who]) for who in clients}
    assert changed == {who: OF_OWNER if who == "owner" else set() for who in clients}
    assert not {who for who in clients if who != "owner" and str(HIDDEN) in str(hidden[who])}
    for who in clients:
        of_who = OF_OWNER if who == "owner" else set()
        assert differences(before[who], public[who]) == OF_PUBLIC | of_who, who
    assert public["stranger"]["killmail"]["data"]["killmail"]["killmailId"] == HIDDEN


async def test_no_address_tells_anybody_else_that_it_exists(kill: Kill) -> None:
    async with viewers(kill) as clients:
        before = {who: await pages(client) for who, client in clients.items()}
        await kill.hide()
        hidden = {who: await pages(client) for who, client in clients.items()}
        await kill.publish()
        public = {who: await pages(client) for who, client in clients.items()}
    address = f"/killmails/{HIDDEN}"
    for who in clients:
        of_who = {"/auth/welcome"} if who == "owner" else set()
        assert differences(before[who], hidden[who]) - CHANGING == of_who, who
        told = {path for path, (_, text) in hidden[who].items() if str(HIDDEN) in text}
        assert told == {address}, "which says which one it lacks"
        assert (before[who][address][0], hidden[who][address][0]) == (404, 404)
        assert public[who][address] == (200, kill.body.decode())


async def pages(client: Program) -> dict[str, tuple[int, str]]:
    """Give status and text of each address."""
    routers = (REST, QUERIES, LOGIN)
    routes = [one for of in routers for one in of.routes if isinstance(one, APIRoute)]
    paths = [
        one.path.format(killmail_id=HIDDEN, id=HIDDEN)
        for one in routes
        if "GET" in (one.methods or ())
    ]
    assert set(paths) > CHANGING
    headers = {} if client.token is None else {"Authorization": f"Bearer {client.token}"}
    found = {}
    for path in paths:
        url = f"{client.gateway.address}{path}"
        async with client.http.get(url, headers=headers, allow_redirects=False) as answer:
            found[path] = answer.status, await answer.text()
    return found


def test_each_subscription_to_killmails_is_followed() -> None:
    assert fields_of("Subscription").keys() == FEEDS.keys() | {"workerStatusUpdates"}


@pytest.mark.parametrize("field", FEEDS)
@pytest.mark.parametrize("who", ["victim", "stranger"])
async def test_no_subscription_sends_it(
    gateway: Gateway, kill: Kill, writer: Writer, field: str, who: str
) -> None:
    async with viewers(kill) as clients, aiohttp.ClientSession(gateway.address) as http:
        token = clients[who].token
        async with connect(http, token) as live, connect(http, token) as later:
            await live.subscribe(f"subscription {{ {field} {{ {FEEDS[field]} }} }}")
            await kill.hide()
            await later.subscribe(f"subscription {{ {field}(after: 0) {{ {FEEDS[field]} }} }}")
            await writer.add(PUBLIC + 1)
            await kill.publish()
            async with asyncio.timeout(10):
                assert [await id_of_next(live) for _ in range(2)] == [PUBLIC + 1, HIDDEN]
                replayed = [await id_of_next(later) for _ in range(3)]
                assert replayed == [PUBLIC, PUBLIC + 1, HIDDEN]


async def id_of_next(connection: Any) -> int:
    (sent,) = (await connection.next()).values()
    killmail_id: int = sent.get("killmail", sent)["killmailId"]
    return killmail_id
