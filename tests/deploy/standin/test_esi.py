from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.standin.conftest import Answer, Client, Clock, Start
from tests.deploy.standin.shapes import check


async def a_path(client: Client) -> str:
    """Give the path of some killmail of the dataset."""
    played = client.standin.dataset.killmails[0]
    return f"/killmails/{played.killmail_id}/{played.killmail_hash}"


async def resolve(client: Client, ids: Any) -> Answer:
    return await client.ask("POST", "/universe/names", json=ids)


async def test_body_is_byte_for_byte_the_file_on_every_path(
    start: Start, killmails_file: Path, lines: list[bytes]
) -> None:
    client = await start(killmails=killmails_file)
    for line, played in zip(lines, client.standin.dataset.killmails, strict=True):
        path = f"/killmails/{played.killmail_id}/{played.killmail_hash}"
        for spelled in (path, path + "/", "/latest" + path + "/", "/v1" + path):
            body = (await client.get(spelled)).body
            assert body == line
        check(body, "KillmailsKillmailIdKillmailHashGet")


async def test_made_up_bodies_are_valid_by_esis_schema(start: Start) -> None:
    client = await start(synthetic=60)
    for played in client.standin.dataset.killmails:
        check(played.body, "KillmailsKillmailIdKillmailHashGet")


@pytest.mark.parametrize("wrong", ["id", "hash"])
async def test_wrong_id_or_hash_is_422(start: Start, wrong: str) -> None:
    client = await start()
    played = client.standin.dataset.killmails[0]
    id_ = 1 if wrong == "id" else played.killmail_id
    hash_ = "0" * 40 if wrong == "hash" else played.killmail_hash
    answer = await client.get(f"/killmails/{id_}/{hash_}/")
    assert answer.status == 422
    assert answer.json() == {"error": "Invalid killmail_id and/or killmail_hash"}
    check(answer.body, "Error")


async def test_answer_is_cacheable_for_30_days_and_304_when_known(start: Start) -> None:
    client = await start()
    path = await a_path(client)
    answer = await client.get(path)
    assert answer.headers["Cache-Control"] == "public, max-age=2592000"
    modified = parsedate_to_datetime(answer.headers["Last-Modified"])
    assert parsedate_to_datetime(answer.headers["Expires"]) - modified == timedelta(days=30)
    etag = answer.headers["ETag"]
    for known in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        again = await client.get(path, headers={"If-None-Match": known})
        assert (again.status, again.body) == (304, b"")
    assert (await client.get(path, headers={"If-None-Match": '"x"'})).status == 200
    since = {"If-Modified-Since": answer.headers["Last-Modified"]}
    assert (await client.get(path, headers=since)).status == 304


async def test_tokens_are_counted_by_status_and_come_back_after_the_window(
    start: Start, clock: Clock
) -> None:
    client = await start(limits=True, esi_tokens=10, esi_window_s=900)
    path = await a_path(client)
    first = await client.get(path)
    assert first.headers["X-Ratelimit-Group"] == "killmail"
    assert first.headers["X-Ratelimit-Limit"] == "10/15m"
    assert (first.headers["X-Ratelimit-Remaining"], first.headers["X-Ratelimit-Used"]) == (
        "8",
        "2",
    )
    clock.now_s += 100
    known = await client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert known.headers["X-Ratelimit-Remaining"] == "7"
    wrong = await client.get("/killmails/1/0/")
    assert wrong.headers["X-Ratelimit-Remaining"] == "2"
    assert (await client.get(path)).headers["X-Ratelimit-Remaining"] == "0"
    refused = await client.get(path)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "800")
    assert refused.headers["X-Ratelimit-Used"] == "0"
    check(refused.body, "Error")
    clock.now_s += 799
    assert (await client.get(path)).status == 429
    clock.now_s += 1
    assert (await client.get(path)).status == 200
    assert (await client.stats())["esi"] == {
        "tokens_used": 10,
        "tokens_highest": 10,
        "refused": 2,
    }


async def test_failing_servers_cost_no_tokens(start: Start) -> None:
    client = await start(limits=True, faults={"esi_fail_next": 3})
    path = await a_path(client)
    for _ in range(3):
        answer = await client.get(path)
        assert (answer.status, answer.headers["X-Ratelimit-Used"]) == (502, "0")
        check(answer.body, "Error")
    assert (await client.get(path)).status == 200
    assert (await client.stats())["faults"] == {"esi_error": 3}


async def test_budget_is_counted_but_not_held_when_limits_are_off(start: Start) -> None:
    client = await start(limits=False, esi_tokens=2)
    path = await a_path(client)
    for _ in range(3):
        answer = await client.get(path)
        assert answer.status == 200
        assert "X-Ratelimit-Remaining" not in answer.headers
    assert (await client.stats())["esi"]["tokens_highest"] == 6


async def test_names_have_categories_and_the_order_asked_for(start: Start) -> None:
    client = await start()
    ids = [95465499, 98000001, 99000001, 30000142, 670, 500001, 1000125, 60003760, 10000002]
    answer = await resolve(client, ids)
    check(answer.body, "UniverseNamesPost")
    named = answer.json()
    assert [one["id"] for one in named] == ids
    assert [one["category"] for one in named] == [
        *("character", "corporation", "alliance", "solar_system", "inventory_type"),
        *("faction", "corporation", "station", "region"),
    ]
    assert (await resolve(client, ids)).json() == named


async def test_one_unknown_id_fails_its_whole_batch(start: Start) -> None:
    client = await start(faults={"unknown_ids": (98000002,)})
    for ids in ([670, 1_000_000_000_001], [670, 98000002], [0]):
        answer = await resolve(client, ids)
        assert answer.status == 404
        assert answer.json() == {"error": "Ensure all IDs are valid before resolving."}
    assert (await resolve(client, [670])).status == 200


@pytest.mark.parametrize("ids", [[], [1, 1], list(range(1, 1002)), ["a"], {"a": 1}, 5, [2**70]])
async def test_malformed_batch_is_400(start: Start, ids: Any) -> None:
    client = await start()
    answer = await resolve(client, ids)
    assert answer.status == 400
    check(answer.body, "Error")


async def test_a_thousand_names_at_once_are_fine(start: Start) -> None:
    client = await start()
    assert len((await resolve(client, list(range(1, 1001)))).json()) == 1000


async def test_all_of_esi_answers_420_once_the_errors_of_a_minute_are_spent(
    start: Start, clock: Clock
) -> None:
    clock.now_s = 6_000_000_000.0
    client = await start(limits=True, esi_errors=3)
    remaining = []
    for _ in range(3):
        answer = await resolve(client, [0])
        remaining.append(answer.headers["X-ESI-Error-Limit-Remain"])
        assert "X-Ratelimit-Limit" not in answer.headers
    assert remaining == ["2", "1", "0"]
    clock.now_s += 15
    for refused in (await resolve(client, [670]), await client.get(await a_path(client))):
        assert refused.status == 420
        assert refused.headers["X-ESI-Error-Limit-Reset"] == "45"
        check(refused.body, "Error")
    clock.now_s += 45
    assert (await resolve(client, [670])).status == 200
    assert (await client.stats())["refused"] == {"esi_errors": 2}


async def test_errors_of_routes_with_a_bucket_leave_the_error_budget_alone(start: Start) -> None:
    client = await start(limits=True, esi_errors=1)
    answer = await client.get("/killmails/1/0/")
    assert answer.status == 422
    assert "X-ESI-Error-Limit-Remain" not in answer.headers
    assert (await resolve(client, [670])).headers["X-ESI-Error-Limit-Remain"] == "1"


async def test_status_and_health_have_esis_shape(start: Start) -> None:
    client = await start(limits=True)
    status, health = await client.get("/status/"), await client.get("/meta/status")
    check(status.body, "Status")
    check(health.body, "MetaStatus")
    assert status.headers["X-Ratelimit-Group"] == "status"
    assert health.headers["X-Ratelimit-Limit"] == "150/15m"


async def test_nothing_but_health_works_while_tranquility_is_down(start: Start) -> None:
    client = await start(faults={"tranquility_down": True})
    down = await client.get(await a_path(client))
    assert down.status == 504
    assert down.json() == {"error": "Timeout contacting tranquility", "timeout": 10}
    assert (await resolve(client, [670])).status == 504
    assert (await client.get("/status")).status == 503
    health = await client.json("/meta/status")
    assert health["routes"][0]["status"] == "Down"
    await client.switch(tranquility_down=False)
    assert (await client.get("/status")).status == 200


@pytest.mark.parametrize(
    ("date", "status"),
    [
        ("2026-08-18", 200),
        ("2020-01-01", 200),
        ("18.08.2026", 400),
        ("2026-02-30", 400),
        ("", 400),
        ("2999-01-01", 400),
    ],
)
async def test_compatibility_date_must_be_one_and_not_ahead(
    start: Start, date: str, status: int
) -> None:
    client = await start()
    path = await a_path(client)
    by_header = await client.get(path, headers={"X-Compatibility-Date": date})
    by_query = await client.get(path, params={"compatibility_date": date})
    assert (by_header.status, by_query.status) == (status, status)
    if status == 200:
        assert by_header.headers["X-Compatibility-Date"] == "2020-01-01"


async def test_a_fraction_of_answers_fails_and_says_how(start: Start) -> None:
    client = await start(faults={"esi_error_rate": 0.3, "esi_error_status": 504})
    path = await a_path(client)
    failed = sum([(await client.get(path)).status == 504 for _ in range(200)])
    assert 35 < failed < 90
    assert (await client.stats())["requests"]["esi"]["killmail"]["504"] == failed
