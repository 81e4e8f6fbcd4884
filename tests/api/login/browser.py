"""Clients of a gateway whose users log in: a browser with cookies, and a program with a token."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import unescape
from typing import Any, Self

import aiohttp
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncEngine
from yarl import URL

from actors.shared.database import reading
from actors.shared.settings import Settings
from deploy.standin.characters import Character
from deploy.standin.server import Standin

# Of tests whose statements are written for both databases.
ON_BOTH = pytest.mark.parametrize(
    "database_url",
    ["sqlite", pytest.param("postgresql", marks=pytest.mark.service)],
    indirect=True,
)

ME = "{ me { accountId characters { characterId name } roles } }"


@dataclass(frozen=True)
class Gateway:
    """A running gateway with its SSO and database."""

    address: str
    settings: Settings
    standin: Standin
    database: AsyncEngine

    def character(self, number: int = 0) -> Character:
        return self.standin.playback.characters.all(number + 1)[number]

    async def switch(self, **faults: Any) -> None:
        """Set the stand-in's faults."""
        async with (
            aiohttp.ClientSession() as http,
            http.put(f"{self.standin.url}/standin/faults", json=faults) as answer,
        ):
            assert answer.status == 200, await answer.text()

    async def rows(self, query: Select[Any]) -> list[Any]:
        async with reading(self.database) as connection:
            return list((await connection.execute(query)).all())


@dataclass(frozen=True)
class Page:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    url: URL
    text: str

    @property
    def location(self) -> URL:
        return URL(self.headers["Location"])


class Browser:
    """Keeps cookies, follows no redirect by itself, and runs no scripts."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.http = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True), headers={"Accept": "text/html"}
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    async def get(self, address: str | URL, **options: Any) -> Page:
        return await self.send("GET", address, **options)

    async def send(self, method: str, address: str | URL, **options: Any) -> Page:
        url = URL(self.gateway.address).join(URL(address))
        async with self.http.request(method, url, allow_redirects=False, **options) as answer:
            return Page(answer.status, answer.headers, url, unescape(await answer.text()))

    async def consent(self, number: int = 0, scopes: str = "character") -> URL:
        """Begin a login and agree at EVE; gives where EVE sends the browser back to."""
        begun = await self.get(f"/auth/login?scopes={scopes}")
        assert begun.status == 303, begun.text
        who = str(self.gateway.character(number).character_id)
        agreed = await self.get(begun.location.update_query(character_id=who))
        assert agreed.status == 302, agreed.text
        return agreed.location

    async def log_in(self, number: int = 0, scopes: str = "character") -> Page:
        """Log in with one of the stand-in's characters."""
        landed = await self.get(await self.consent(number, scopes))
        assert (landed.status, landed.location.path) == (303, "/auth/welcome"), landed.text
        return landed

    async def query(self, document: str, origin: str | None = "own", **variables: Any) -> Any:
        """Ask as a script on a page of this origin does; None sends no Origin."""
        headers = {"Accept": "application/json"}
        if origin is not None:
            headers["Origin"] = self.gateway.address if origin == "own" else origin
        return await query(self.http, self.gateway, document, headers, **variables)

    def cookie(self, name: str) -> Any:
        return next((c for c in self.http.cookie_jar if c.key.endswith(name)), None)


class Program:
    """Sends a bearer token and no cookie."""

    def __init__(self, gateway: Gateway, http: aiohttp.ClientSession) -> None:
        self.gateway = gateway
        self.http = http
        self.token: str | None = None

    async def query(self, document: str, **variables: Any) -> Any:
        headers = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        return await query(self.http, self.gateway, document, headers, **variables)

    async def begin(self, scopes: str = "character") -> dict[str, str]:
        begun = await self.query(f"mutation {{ login(scopes: [{scopes}]) {{ {START} }} }}")
        start: dict[str, str] = begun["data"]["login"]
        return start

    async def consent(self, start: dict[str, str], number: int = 0) -> dict[str, str]:
        """Agree at EVE; gives the variables of `authenticateWithCode`."""
        who = str(self.gateway.character(number).character_id)
        url = URL(start["url"]).update_query(character_id=who)
        async with self.http.get(url, allow_redirects=False) as answer:
            back = URL(answer.headers["Location"]).query
        return {"code": back["code"], "state": back["state"], "secret": start["clientSecret"]}

    async def log_in(self, number: int = 0, scopes: str = "character") -> Any:
        given = await self.consent(await self.begin(scopes), number)
        answer = await self.query(AUTHENTICATE, **given)
        self.token = answer["data"]["authenticateWithCode"]["token"]
        return answer["data"]["authenticateWithCode"]


SYNC_AS_IT_STANDS = "mutation { syncMyKillmails { success message syncedCount } }"
START = "url state clientSecret"
AUTHENTICATE = """
mutation ($code: String!, $state: String!, $secret: String!) {
  authenticateWithCode(code: $code, state: $state, clientSecret: $secret) {
    token expiresAt character { characterId name authStatus scopes }
  }
}
"""


@asynccontextmanager
async def program(gateway: Gateway) -> AsyncIterator[Program]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        yield Program(gateway, http)


async def query(
    http: aiohttp.ClientSession,
    gateway: Gateway,
    document: str,
    headers: Mapping[str, str],
    **variables: Any,
) -> Any:
    body = {"query": document, "variables": variables}
    async with http.post(f"{gateway.address}/graphql", json=body, headers=headers) as answer:
        return await answer.json()


def code_of(answer: Any) -> str:
    """The code of the only error."""
    (error,) = answer["errors"]
    return str(error["extensions"]["code"])


def failures(reason: str) -> float:
    """How many failed logins were counted."""
    labels = {"reason": reason}
    return REGISTRY.get_sample_value("killstream_login_failures_total", labels) or 0.0
