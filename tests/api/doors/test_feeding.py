"""A Killstream feeds a Killstream: our own sources read our own doors."""

from collections.abc import Awaitable, Callable
from datetime import date

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.settings import Settings
from api.doors import redisq
from api.doors.metrics import CONNECTIONS
from streams.ledger import read_cursor
from streams.sources.r2z2 import r2z2_name
from tests.api.gateway import Writer, a_killmail, serve
from tests.streams.rig import Log, polling, until


def _has(log: Log, killmail_ids: set[int]) -> Callable[[], Awaitable[bool]]:
    async def has() -> bool:
        return log.durable >= killmail_ids

    return has


@pytest.fixture
def log(sqlite: AsyncEngine) -> Log:
    return Log(sqlite)


async def test_our_r2z2_source_reads_our_files(
    settings: Settings, writer: Writer, log: Log
) -> None:
    bodies = {id_: a_killmail(id_) for id_ in range(1, 301)}
    await writer.publish(*await writer.store(bodies[1]))
    async with serve(settings) as address:
        ours = Settings(source="r2z2", r2z2_url=address, r2z2_requests_per_s=5000)
        async with polling(ours, log):
            await until(_has(log, {1}))
            await writer.publish(*await writer.store(*[bodies[id_] for id_ in range(2, 200)]))
            await writer.add_day(date(2015, 3, 1))
            await writer.publish(*await writer.store(bodies[1], kind="updated", zkb={"points": 9}))
            await writer.publish(*await writer.store(*[bodies[id_] for id_ in range(200, 301)]))
            await until(_has(log, set(bodies)))
        assert await read_cursor(log.database, r2z2_name(ours)) == writer.last
    by_position = {reference.position: reference for reference in log.taken}
    assert sorted(by_position) == [n for n in range(1, writer.last + 1) if n != 200]
    assert {r.killmail_id: bytes(r.body) for r in log.taken} == bodies
    assert {reference.hash for reference in log.taken} == {"a" * 40}
    assert by_position[201].killmail_id == 1
    assert log.refused == []


@pytest.mark.parametrize("bodies", [True, False])
async def test_our_redisq_source_reads_our_queues(
    settings: Settings, writer: Writer, log: Log, monkeypatch: pytest.MonkeyPatch, bodies: bool
) -> None:
    monkeypatch.setattr(redisq, "MAX_TTW_S", 0.1)
    wanted = {id_: a_killmail(id_) for id_ in range(1, 51)}
    async with serve(settings) as address:
        ours = Settings(
            source="redisq",
            redisq_url=address,
            redisq_queue_id="downstream",
            redisq_bodies=bodies,
            redisq_requests_per_s=5000,
        )
        async with polling(ours, log):
            await until(_is_polled)
            await writer.publish(*await writer.store(*wanted.values(), zkb={"points": 9}))
            await writer.add_day(date(2015, 3, 1))
            await until(_has(log, set(wanted)))
    assert [reference.killmail_id for reference in log.taken] == list(wanted)
    assert {bytes(reference.body) for reference in log.taken} == (
        set(wanted.values()) if bodies else {b""}
    )
    assert {reference.hash for reference in log.taken} == {"a" * 40}
    assert log.refused == []


async def _is_polled() -> bool:
    polled: float = CONNECTIONS.labels("redisq")._value.get()
    return polled > 0
