"""Serving the gateway: how a start fails."""

import asyncio

import pytest

from actors.shared.errors import ServerUnavailable
from actors.shared.settings import Settings
from deploy import gateway
from deploy.ports import free_port


async def test_a_database_that_goes_away_during_the_start_is_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def were_there(_settings: Settings) -> None:
        pass

    monkeypatch.setattr(gateway, "_check_servers", were_there)
    gone = Settings(database_url=f"postgresql://a:b@127.0.0.1:{free_port()}/x", api_port=0)
    with pytest.raises(ServerUnavailable):
        await gateway.run_gateway(gone, asyncio.Event())
