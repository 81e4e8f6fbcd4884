"""A gateway of our own on a free port, a writer that does what the actors do, and a client."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import aiohttp
import msgspec
import uvicorn
from broadcaster import Broadcast
from fastapi import FastAPI
from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.append import append_imported_day
from actors.shared.body import pack
from actors.shared.feed import CHANNEL, Entry, FeedEntry, ImportedDay, encode_entry, join_entries
from actors.shared.killmail import parse_killmail
from actors.shared.settings import Settings
from actors.shared.tables import (
    FEED,
    FEED_COUNTER,
    KILLMAILS,
    METADATA,
    NAMES,
    POSTINGS_STATE,
    UNPUBLISHED,
)
from api.app import create_app
from api.state import end_streams
from deploy.http_protocol import server_config
from tests.support.tables import create_views

NAMES_KNOWN = {1: "Ann", 2: "Capsule", 3: "Jita", 4: "Bob", 5: "Stabber", 6: "Gun"}
FEED_ID = "5eed"
TIME = datetime(2026, 1, 1, tzinfo=UTC)


def a_killmail(killmail_id: int, **changes: Any) -> bytes:
    """Write a body as ESI does."""
    attacker = {"damage_done": 7, "final_blow": True, "security_status": -1.5}
    return msgspec.json.encode(
        {
            "killmail_id": killmail_id,
            "killmail_time": (TIME + timedelta(minutes=killmail_id)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "solar_system_id": 3,
            "victim": {
                "character_id": 1,
                "ship_type_id": 2,
                "damage_taken": 7,
                "position": {"x": 1.5, "y": -2e12, "z": 0.0},
                "items": [
                    {
                        "item_type_id": 9,
                        "flag": 5,
                        "singleton": 0,
                        "quantity_dropped": 2**40,
                    }
                ],
            },
            "attackers": [attacker | {"character_id": 4, "ship_type_id": 5, "weapon_type_id": 6}],
            "an_unknown_field": [1, 2],
        }
        | changes
    )


@dataclass
class Writer:
    """Stores killmails and publishes them, in two steps that a test can separate."""

    database: AsyncEngine
    events: Broadcast
    last: int = 0
    names: Mapping[int, str] = field(default_factory=lambda: NAMES_KNOWN)

    async def store(
        self, *bodies: bytes, kind: str = "added", zkb: Any = None, origin: str = "live"
    ) -> list[Entry]:
        """Commit killmails and their entries of the feed."""
        entries = []
        async with self.database.begin() as connection:
            for body in bodies:
                self.last += 1
                entry = msgspec.structs.replace(self._entry(body, kind, zkb), origin=origin)
                entries.append(entry)
                if kind == "added":
                    await connection.execute(KILLMAILS.insert().values(row_of(body, zkb)))
                await connection.execute(
                    FEED.insert().values(
                        sequence=entry.sequence,
                        killmail_id=entry.killmail_id,
                        kind=kind,
                        stored_at=datetime.fromtimestamp(entry.stored_at, UTC),
                        origin=origin,
                    )
                )
                await connection.execute(UNPUBLISHED.insert().values(sequence=entry.sequence))
            await connection.execute(update(FEED_COUNTER).values(last_sequence=self.last))
        return entries

    async def store_day(self, day: date) -> ImportedDay:
        """Commit the entry of an imported day."""
        self.last += 1
        async with self.database.begin() as connection:
            unpublished = await append_imported_day(connection, day, "everef", added=7, total=9)
        return unpublished.entry

    async def add_day(self, day: date) -> ImportedDay:
        """Store and publish the entry of an imported day."""
        entry = await self.store_day(day)
        await self.publish(entry)
        return entry

    async def publish(self, *entries: FeedEntry) -> None:
        """Publish entries in one message and mark them published."""
        await self.events.publish(CHANNEL, join_entries(encode_entry(e) for e in entries))
        await self.mark(*entries)

    async def mark(self, *entries: FeedEntry) -> None:
        """Mark entries published."""
        async with self.database.begin() as connection:
            await connection.execute(
                delete(UNPUBLISHED).where(UNPUBLISHED.c.sequence.in_([e.sequence for e in entries]))
            )

    async def add(
        self, *killmail_ids: int, kind: str = "added", origin: str = "live"
    ) -> list[Entry]:
        """Store and publish."""
        entries = await self.store(*map(a_killmail, killmail_ids), kind=kind, origin=origin)
        await self.publish(*entries)
        return entries

    def _entry(self, body: bytes, kind: str, zkb: Any) -> Entry:
        entry = Entry(
            sequence=self.last,
            kind=kind,
            killmail_id=parse_killmail(body).killmail_id,
            hash="a" * 40,
            stored_at=datetime.now(UTC).timestamp(),
            killmail=msgspec.Raw(body),
            names=dict(self.names),
            feed_id=FEED_ID,
        )
        if zkb is None:
            return entry
        return msgspec.structs.replace(entry, zkb=msgspec.Raw(msgspec.json.encode(zkb)))


def row_of(body: bytes, zkb: Any) -> dict[str, Any]:
    killmail = parse_killmail(body)
    return {
        "killmail_id": killmail.killmail_id,
        "killmail_hash": "a" * 40,
        "killmail_time": killmail.killmail_time,
        "solar_system_id": killmail.solar_system_id,
        "victim_character_id": killmail.victim.character_id,
        "victim_ship_type_id": killmail.victim.ship_type_id,
        "victim_damage_taken": killmail.victim.damage_taken,
        "attacker_count": len(killmail.attackers),
        "zkb": None if zkb is None else pack(msgspec.json.encode(zkb)),
        "body": pack(body),
        "body_as_of": datetime.now(UTC),
        "created_at": datetime.now(UTC),
    }


async def make_tables(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
        await connection.run_sync(create_views)
        await connection.exec_driver_sql("CREATE TABLE alembic_version (version_num TEXT)")
        await connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('tests')")
        await connection.execute(FEED_COUNTER.insert().values(last_sequence=0, feed_id=FEED_ID))
        await connection.execute(POSTINGS_STATE.insert().values(complete=True))
        for entity_id, name in NAMES_KNOWN.items():
            await connection.execute(
                NAMES.insert().values(id=entity_id, name=name, checked_at=datetime.now(UTC))
            )


class Server(uvicorn.Server):
    """Leaves signals to pytest; ends streams as ours does."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        assert isinstance(self.config.app, FastAPI)
        end_streams(self.config.app)
        await super().shutdown(sockets)


@asynccontextmanager
async def serve(settings: Settings, port: int = 0) -> AsyncIterator[str]:
    """Run a gateway; yield its address."""
    config = server_config(create_app(settings), settings, port=port, timeout_graceful_shutdown=3)
    server = Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        assert not serving.done(), "the gateway didn't start"
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


async def query(client: aiohttp.ClientSession, document: str, **variables: Any) -> dict[str, Any]:
    """Execute a query by POST; leaves out what it cost."""
    body = {"query": document, "variables": variables}
    async with client.post("/graphql", json=body) as answer:
        result: dict[str, Any] = await answer.json()
        result.pop("extensions", None)
        return result


class Connection:
    """One graphql-transport-ws connection without a client library."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def subscribe(self, document: str, operation_id: str = "1", **variables: Any) -> None:
        payload = {"query": document, "variables": variables}
        await self.socket.send_json({"type": "subscribe", "id": operation_id, "payload": payload})
        # Answers are sent in order: after the pong the subscription is active.
        await self.socket.send_json({"type": "ping"})
        while (await self.socket.receive_json())["type"] != "pong":
            pass

    async def next(self) -> Any:
        """Wait for the next result's data."""
        message = await self.socket.receive_json(timeout=10)
        assert message["type"] == "next", message
        assert "errors" not in message["payload"], message
        return message["payload"]["data"]


@asynccontextmanager
async def connect(
    client: aiohttp.ClientSession, token: str | None = None
) -> AsyncIterator[Connection]:
    """Connect, anonymously without a token."""
    payload = {} if token is None else {"authorization": f"Bearer {token}"}
    async with client.ws_connect("/graphql", protocols=["graphql-transport-ws"]) as socket:
        await socket.send_json({"type": "connection_init", "payload": payload})
        assert await socket.receive_json() == {"type": "connection_ack"}
        yield Connection(socket)
