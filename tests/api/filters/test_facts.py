"""What the gateway keeps to judge killmails: labels' numbers, and the universe that is loaded."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.feed import Entry
from actors.shared.finding.kinds import Kind, term_of
from actors.shared.finding.normal import normal_form
from actors.shared.finding.subject import matches
from actors.shared.finding.tree import And, Has, Not
from actors.shared.settings import Settings
from actors.shared.tables import LABELS, SOLAR_SYSTEMS, UNIVERSE
from api.database import open_read_database
from api.filters import facts as module
from api.filters.facts import Facts, UniverseUnknown, open_facts
from api.filters.graphql import tree_for
from api.view import View
from tests.support.made import a_body

SYSTEM = {"solar_system_id": 30_002_537, "constellation_id": 20_000_001, "band": "low"}


def a_view(killmail_id: int = 1, zkb: Any = None, **changes: Any) -> View:
    raw = msgspec.Raw(msgspec.json.encode(zkb) if zkb is not None else b"")
    body = msgspec.Raw(a_body(killmail_id, **changes))
    return View(Entry(1, "added", killmail_id, "", 0.0, killmail=body, zkb=raw))


@pytest.fixture
def settings(sqlite: AsyncEngine) -> Settings:
    return Settings(data_dir=sqlite.url.database.rsplit("/", 1)[0])  # type: ignore[union-attr]


async def test_labels_are_found_in_killmails_whether_they_have_a_number_yet_or_not(
    sqlite: AsyncEngine, settings: Settings
) -> None:
    async with sqlite.begin() as connection:
        await connection.execute(LABELS.insert().values(label_id=7, label="pvp"))
    async with open_read_database(settings) as database:
        facts = Facts(database)
        view = a_view(zkb={"labels": ["pvp", "new"], "totalValue": 5})
        assert not set(facts.subject(view).terms) & {term_of(Kind.LABEL, 7)}
        terms = await facts.label_terms({"pvp", "new", "absent"})
        assert terms["pvp"] == term_of(Kind.LABEL, 7)
        assert {label for label, term in terms.items() if term in facts.subject(view).terms} == {
            "pvp",
            "new",
        }
        assert facts.subject(view) is facts.subject(view)
        assert await facts.label_terms({"new"}) == {"new": terms["new"]}
        without_zkb = facts.subject(a_view())
        absent = normal_form(Not(Has(terms["absent"])))
        assert matches(absent, facts.subject(view))
        assert not matches(absent, without_zkb)


async def test_the_universe_is_read_again_when_another_one_is_loaded(
    sqlite: AsyncEngine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.01)
    region = Has(term_of(Kind.REGION, 2))
    view = a_view()
    async with open_read_database(settings) as database, open_facts(database) as facts:
        with pytest.raises(UniverseUnknown):
            await facts.loaded_universe()
        now = datetime.now(UTC)
        async with sqlite.begin() as connection:
            await connection.execute(UNIVERSE.insert().values(loaded_at=now, next_check_at=now))
            await connection.execute(SOLAR_SYSTEMS.insert().values(**SYSTEM, region_id=1))
        first = await facts.loaded_universe()
        assert not matches(region, facts.subject(view))
        async with sqlite.begin() as connection:
            await connection.execute(update(SOLAR_SYSTEMS).values(region_id=2))
            later = now + timedelta(seconds=1)
            await connection.execute(update(UNIVERSE).values(loaded_at=later))
        while facts.universe is first:
            await facts.changed.wait()
        assert matches(region, facts.subject(view))


async def test_a_filter_of_a_client_is_applied_to_a_killmail(settings: Settings) -> None:
    async with open_read_database(settings) as database:
        facts = Facts(database)
        given = {"role": "victim", "ship_type_id": 587, "min_total_value": 1e6}
        tree = normal_form(await tree_for(facts, given))
        assert isinstance(tree, And)
        assert matches(tree, facts.subject(a_view(zkb={"totalValue": 1e6})))
        assert not matches(tree, facts.subject(a_view(zkb={"totalValue": 999_999})))
        assert not matches(tree, facts.subject(a_view()))
