"""What ESI's routes share: buckets of tokens, and requests with good and bad access tokens."""

from deploy.standin.members import ROLES_SCOPE
from tests.deploy.standin.conftest import Clock, Start
from tests.deploy.standin.recent import authorize, recent
from tests.deploy.standin.shapes import check


async def test_fifteen_calls_spend_the_bucket_of_one_character_and_application(
    start: Start, clock: Clock
) -> None:
    client = await start(limits=True, esi_window_s=60)
    one, other = client.standin.playback.characters.all(2)
    headers = authorize(client, one.character_id)
    for left in range(28, -2, -2):
        answer = await recent(client, one.character_id, headers=headers)
        assert answer.status == 200
        assert answer.headers["X-Ratelimit-Group"] == "char-killmail"
        assert answer.headers["X-Ratelimit-Limit"] == "30/1m"
        assert answer.headers["X-Ratelimit-Remaining"] == str(left)
    refused = await recent(client, one.character_id)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "60")
    assert (await recent(client, other.character_id)).status == 200
    elsewhere = authorize(client, one.character_id, application="other")
    assert (await recent(client, one.character_id, headers=elsewhere)).status == 200
    assert (await client.stats())["buckets"] == {
        "char-killmail": {
            "tokens": 30,
            "highest": 30,
            "refused": 1,
            "owners": {
                f"app:{one.character_id}": 30,
                f"app:{other.character_id}": 2,
                f"other:{one.character_id}": 2,
            },
        }
    }
    clock.now_s += 60
    assert (await recent(client, one.character_id)).status == 200
    assert (await client.stats())["requests"]["esi"]["character_recent"] == {"200": 18, "429": 1}


async def test_a_request_without_a_good_token_is_refused(start: Start, clock: Clock) -> None:
    client = await start(limits=True)
    first, other = client.standin.playback.characters.all(2)
    path = f"/characters/{first.character_id}/killmails/recent"
    without = await client.get(path)
    assert without.status == 401
    check(without.body, "Error")
    unknown = await client.get(path, headers={"Authorization": "Bearer nonsense"})
    expiring = authorize(client, first.character_id, for_s=1_200)
    clock.now_s += 1_200
    for refused in (unknown, await client.get(path, headers=expiring)):
        assert refused.status == 403
        assert refused.json() == {"error": "unexpected end of JSON input", "sso_status": 401}
    lacking = authorize(client, first.character_id, scopes=frozenset({ROLES_SCOPE}))
    foreign = authorize(client, other.character_id)
    for refused in (
        await client.get(path, headers=lacking),
        await client.get(path, headers=foreign),
    ):
        assert refused.status == 403
        assert refused.headers["X-Ratelimit-Used"] == "5"
    await client.switch(esi_token_status=401)
    assert (await client.get(path, headers=expiring)).status == 401


async def test_a_public_route_with_a_token_has_a_bucket_of_address_and_application(
    start: Start,
) -> None:
    client = await start()
    first, *_ = client.standin.playback.characters.all(1)
    for headers in ({}, authorize(client, first.character_id)):
        await client.get("/status", headers=headers)
    owners = (await client.stats())["buckets"]["status"]["owners"]
    assert owners == {"127.0.0.1": 2, "127.0.0.1:app": 2}
