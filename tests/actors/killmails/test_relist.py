"""Killmails are found by region, group and so on, also those stored before the universe came."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from actors.killmails import relist as relisting
from actors.killmails.persist import read, store
from actors.killmails.relist import relist
from actors.resources import Resources
from actors.shared.database import reading
from actors.shared.finding.complete import is_listed_by_universe
from actors.shared.finding.find import find
from actors.shared.finding.kinds import BLOCK_BITS, Kind, term_of
from actors.shared.finding.tree import Has, Not, Tree
from actors.shared.finding.universe import BANDS
from actors.shared.reference import encode_reference
from actors.shared.settings import Settings
from actors.shared.tables import UNIVERSE
from actors.universe.load import load_from_file
from tests.support.archive import archive_of, small_files
from tests.support.esi import opened_resources, run
from tests.support.made import a_body, a_reference, an_attacker

FIRST = (1 << BLOCK_BITS) - 10
"""The killmails lie in two blocks."""
FORGE, DOMAIN = 10_000_002, 10_000_043
TERMS = {
    "region": term_of(Kind.REGION, FORGE),
    "constellation": term_of(Kind.CONSTELLATION, 20_000_020),
    "band": term_of(Kind.SPACE_BAND, BANDS["high"]),
    "victim's group": term_of(Kind.VICTIM_SHIP_GROUP, 25),
    "victim's category": term_of(Kind.VICTIM_CATEGORY, 6),
    "attacker's group": term_of(Kind.ATTACKER_SHIP_GROUP, 25),
}


@pytest.fixture
async def opened(database_settings: dict[str, Any], tmp_path: Path) -> AsyncIterator[Resources]:
    async with opened_resources(
        Settings(data_dir=tmp_path, contact="tests@example.org", **database_settings)
    ) as resources:
        yield resources


async def add(opened: Resources, ids: Sequence[int]) -> None:
    """Store killmails in Jita, of ships that the universe knows."""
    bodies = (
        a_body(
            killmail_id,
            solar_system_id=30_000_142,
            victim={"damage_taken": 1, "ship_type_id": 5},
            attackers=[an_attacker(ship_type_id=6)],
        )
        for killmail_id in ids
    )
    await store(opened.database, read([encode_reference(a_reference(b)) for b in bodies])[0])


async def load(opened: Resources, tmp_path: Path, region_id: int = FORGE, build: int = 7) -> None:
    """Load a universe, and have it settle."""
    files = small_files()
    files["mapRegions"].append({"_key": DOMAIN, "name": {"en": "Domain"}})
    files["mapSolarSystems"][0]["regionID"] = region_id
    files["mapConstellations"][0]["regionID"] = region_id
    archive = tmp_path / f"{build}.zip"
    archive.write_bytes(archive_of(files, build))
    await load_from_file(opened.database, archive)


async def let_a_minute_pass(opened: Resources) -> None:
    """Let the minute pass in which a transaction may still store by the universe from before."""
    async with opened.database.begin() as connection:
        before = datetime.now(UTC) - timedelta(minutes=2)
        await connection.execute(update(UNIVERSE).values(loaded_at=before))


async def found(opened: Resources, tree: Tree) -> list[int]:
    async with reading(opened.database) as connection:
        page = await find(_reader(connection), tree, limit=100, newest_first=False)
        return page.killmail_ids


async def is_listed(opened: Resources) -> bool | None:
    async with reading(opened.database) as connection:
        return await is_listed_by_universe(_reader(connection))


def _reader(connection: Any) -> Any:
    async def rows(query: Any) -> Any:
        return (await connection.execute(query)).all()

    return rows


async def test_killmails_of_before_and_after_the_load_are_found(
    opened: Resources, tmp_path: Path
) -> None:
    before, after = range(FIRST, FIRST + 15), range(FIRST + 15, FIRST + 20)
    await add(opened, before)
    assert await is_listed(opened) is None
    await load(opened, tmp_path)
    await add(opened, after)
    await run(relist)
    assert await is_listed(opened) is False, "a transaction may still store by the one before"
    for term in TERMS.values():
        assert await found(opened, Has(term)) == list(after)
    await let_a_minute_pass(opened)
    await run(relist)
    assert await is_listed(opened) is True
    for name, term in TERMS.items():
        assert await found(opened, Has(term)) == [*before, *after], name
        assert await found(opened, Not(Has(term))) == [], name


async def test_killmails_move_with_their_solar_system(opened: Resources, tmp_path: Path) -> None:
    await load(opened, tmp_path)
    await add(opened, range(FIRST, FIRST + 15))
    await let_a_minute_pass(opened)
    await run(relist)
    await load(opened, tmp_path, region_id=DOMAIN, build=8)
    assert await is_listed(opened) is False
    await let_a_minute_pass(opened)
    await run(relist)
    assert await found(opened, Has(term_of(Kind.REGION, FORGE))) == []
    assert len(await found(opened, Has(term_of(Kind.REGION, DOMAIN)))) == 15


async def test_each_message_goes_on_where_the_last_one_was(
    opened: Resources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relisting, "WORKS_FOR_S", 0.0)
    await add(opened, range(FIRST, FIRST + 15))
    await load(opened, tmp_path)
    await let_a_minute_pass(opened)
    steps = []
    for _ in range(3):
        steps.append((len(await found(opened, Has(TERMS["region"]))), await is_listed(opened)))
        await run(relist)
    assert steps == [(0, False), (10, False), (15, True)]
