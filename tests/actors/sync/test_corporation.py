"""A corporation is synchronized with the token of one of its directors."""

from actors.resources import Resources
from actors.shared.tables import (
    CORPORATION_SYNCS,
)
from actors.sync.corporation import sync_corporation
from deploy.standin.server import Standin
from tests.actors.sync.rig import (
    a_director,
    calls,
    references,
)
from tests.support.esi import run, set_faults
from tests.support.tables import rows


async def test_a_directors_corporation_is_synchronized(
    opened: Resources, upstream: Standin
) -> None:
    character_id, corporation_id = await a_director(opened, upstream, is_director=True)
    (row,) = await rows(opened.database, CORPORATION_SYNCS)
    assert (row["corporation_id"], row["state"]) == (corporation_id, "active")
    await run(sync_corporation, corporation_id, character_id)
    assert {r.source for r in references()} == {f"esi:corporation/{corporation_id}"}
    (row,) = await rows(opened.database, CORPORATION_SYNCS)
    assert row["last_sync_count"] > 0


async def test_a_member_without_the_role_is_refused_before_the_call(
    opened: Resources, upstream: Standin
) -> None:
    await a_director(opened, upstream, is_director=False)
    (row,) = await rows(opened.database, CORPORATION_SYNCS)
    assert (row["state"], row["next_sync_at"]) == ("refused", None)
    assert "director" in row["state_reason"]
    assert calls(upstream, "corporation_recent") == 0


async def test_a_403_is_final_and_kept_for_the_user(opened: Resources, upstream: Standin) -> None:
    character_id, corporation_id = await a_director(opened, upstream, is_director=True)
    set_faults(upstream, esi_not_director=(character_id,))
    await run(sync_corporation, corporation_id, character_id)
    (row,) = await rows(opened.database, CORPORATION_SYNCS)
    assert (row["state"], row["next_sync_at"]) == ("refused", None)
    assert "required role" in row["state_reason"]
