"""The SSO's switches: refused refreshes, an outage, lost and late answers."""

import asyncio

import aiohttp
import pytest

from tests.deploy.standin.conftest import Start
from tests.deploy.standin.sso.client import (
    authorize,
    exchange,
    log_in,
    refresh,
    refused,
)


@pytest.mark.parametrize(
    ("kind", "status", "error"),
    [
        ("token", 400, "invalid_grant"),
        ("grant", 400, "invalid_grant"),
        ("migrate", 400, "invalid_grant"),
        ("expired", 400, "invalid_token"),
        ("client", 400, "invalid_token"),
        ("credentials", 401, "invalid_client"),
        ("unavailable", 503, "temporarily_unavailable"),
    ],
)
async def test_next_refreshes_are_refused_as_switched(
    start: Start, kind: str, status: int, error: str
) -> None:
    client = await start()
    given = (await log_in(client))["refresh_token"]
    await client.switch(sso_fail_next=2, sso_error=kind)
    for _ in range(2):
        assert refused(await refresh(client, given))[:2] == (status, error)
    assert (await refresh(client, given)).status == 200
    assert (await client.stats())["faults"]["sso_error"] == 2


async def test_refusals_repeat_what_they_refuse_when_switched(start: Start) -> None:
    client = await start(faults={"sso_fail_next": 2})
    given = (await log_in(client))["refresh_token"]
    assert given not in (await refresh(client, given)).body.decode()
    await client.switch(sso_repeats=True)
    assert refused(await refresh(client, given))[2].endswith(f" {given}")
    assert refused(await exchange(client, "a.code"))[2].endswith(" a.code")


async def test_sso_can_be_down_as_a_whole(start: Start) -> None:
    client = await start()
    given = (await log_in(client))["refresh_token"]
    await client.switch(sso_status=502)
    assert (await refresh(client, given)).status == 502
    assert (await client.get("/oauth/jwks")).status == 502
    assert (await authorize(client)).status == 502
    await client.switch(sso_status=None)
    assert (await refresh(client, given)).status == 200


async def test_lost_answer_has_rotated_the_token_all_the_same(start: Start) -> None:
    client = await start(faults={"sso_rotation": True})
    given = (await log_in(client))["refresh_token"]
    await client.switch(sso_lost_next=1)
    with pytest.raises(aiohttp.ClientConnectionError):
        await refresh(client, given)
    assert (await refresh(client, given)).status == 400


async def test_latency_holds_back_what_is_already_done(start: Start) -> None:
    client = await start(faults={"sso_rotation": True})
    given = (await log_in(client))["refresh_token"]
    await client.switch(sso_latency_ms=600_000)
    waiting = asyncio.create_task(refresh(client, given))
    while (await client.stats())["requests"]["sso"]["token"]["200"] < 2:
        assert not waiting.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await client.switch(sso_latency_ms=0)
    assert (await refresh(client, given)).status == 400
