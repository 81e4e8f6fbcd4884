"""A process is killed in the middle of a refresh: another one takes over when its lease ends."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from actors.shared.errors import RetryLater
from actors.shared.settings import Settings
from actors.shared.tables import TOKENS, USERS
from actors.users.sso import LoginRequired
from actors.users.tokens import LEASE, Keeper
from deploy.standin.server import Standin
from tests.support.esi import set_faults
from tests.support.login import characters, log_in, login_settings
from tests.support.refresher import refresher
from tests.support.tables import rows

HELD_BACK_MS = 600_000
TAKES_MS = 500


@pytest.fixture
async def character_id(keeper: Keeper, upstream: Standin) -> int:
    """A character whose access token expires within a minute."""
    logged_in = await log_in(keeper, characters(upstream)[0])
    async with keeper.database.begin() as connection:
        soon = datetime.now(UTC) + timedelta(minutes=1)
        await connection.execute(update(USERS).values(expires_at=soon))
    return logged_in.character_id


@pytest.fixture
def settings(keeper: Keeper, upstream: Standin, tmp_path: Path) -> Settings:
    """Settings of another process on the same database."""
    url = keeper.database.url
    if url.get_backend_name() == "sqlite":
        return Settings(data_dir=tmp_path, **login_settings(upstream))
    text = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return Settings(database_url=text, **login_settings(upstream))


def answers(upstream: Standin) -> Counter[int]:
    """Count the answers of the token endpoint by status; one that is held back counts."""
    requests = upstream.playback.stats.requests
    return Counter(
        {status: n for (_, endpoint, status), n in requests.items() if endpoint == "token"}
    )


async def kill_during_refresh(settings: Settings, upstream: Standin, character_id: int) -> None:
    """Kill a process that has sent its refresh token, and has no answer yet."""
    before = answers(upstream)
    async with refresher(settings, character_id) as process:
        rotation = upstream.playback.faults.sso_rotation
        set_faults(upstream, sso_rotation=rotation, sso_latency_ms=HELD_BACK_MS)
        process.stdin.write(b"\n")  # type: ignore[union-attr]
        while answers(upstream) == before:
            assert process.returncode is None
            await asyncio.sleep(0.01)
        process.kill()
        assert await process.wait() == -9
    assert answers(upstream) - before == {200: 1}


async def end_lease(keeper: Keeper) -> None:
    """Let as much time pass as a lease lasts."""
    (row,) = await rows(keeper.database, TOKENS)
    assert timedelta(0) < row["refreshing_until"] - datetime.now(UTC) <= LEASE
    async with keeper.database.begin() as connection:
        over = row["refreshing_until"] - LEASE
        await connection.execute(update(TOKENS).values(refreshing_until=over))


async def tries(keeper: Keeper, character_id: int) -> tuple[list[str], list[Exception]]:
    """Ask for the token several times at once; give the tokens and the errors."""
    asked = (keeper.access_token(character_id) for _ in range(3))
    results: list[Any] = await asyncio.gather(*asked, return_exceptions=True)
    return (
        [one for one in results if isinstance(one, str)],
        [one for one in results if isinstance(one, Exception)],
    )


@pytest.mark.parametrize("rotates", [False, True], ids=["token stays", "token is rotated"])
async def test_another_process_takes_over_after_the_lease(
    keeper: Keeper, upstream: Standin, settings: Settings, character_id: int, rotates: bool
) -> None:
    set_faults(upstream, sso_rotation=rotates)
    before = answers(upstream)
    await kill_during_refresh(settings, upstream, character_id)
    set_faults(upstream, sso_rotation=rotates, sso_latency_ms=TAKES_MS)
    with pytest.raises(RetryLater, match="another process refreshes the tokens"):
        await keeper.access_token(character_id)
    assert answers(upstream) - before == {200: 1}

    await end_lease(keeper)
    tokens, errors = await tries(keeper, character_id)
    (user,) = await rows(keeper.database, USERS)
    stored = await rows(keeper.database, TOKENS)
    if rotates:  # only the killed process was given the next refresh token
        assert answers(upstream) - before == {200: 1, 400: 1}
        assert upstream.playback.stats.refused["refresh_token_reused"] == 1
        assert [type(error) for error in errors].count(LoginRequired) == 1
        assert (user["state"], user["next_sync_at"], stored) == ("login_required", None, [])
        assert "refresh token" in user["state_reason"]
    else:
        assert answers(upstream) - before == {200: 2}
        assert (user["state"], stored[0]["refreshing_until"]) == ("active", None)
        assert tokens == [keeper.vault.decrypt(stored[0]["access_token"])]
    assert [type(error) for error in errors].count(RetryLater) == 2
