from pathlib import Path
from typing import Any

import msgspec

from actors.shared.killmail import killmail_hash, parse_killmail
from tests.deploy.standin.conftest import NOON, Client, Clock, Start

FIRST = 96_000_000
KEYS = {"killmail_id", "hash", "esi", "zkb", "uploaded_at", "sequence_id"}
ZKB_KEYS = {
    *("locationID", "hash", "fittedValue", "droppedValue", "destroyedValue", "totalValue"),
    *("totalDroppableValue", "points", "npc", "solo", "awox", "labels", "attackerCount", "href"),
}


async def walk(client: Client) -> list[tuple[int, int, Any]]:
    """Read every number once, as (number, status, document)."""
    numbers = (await client.stats())["dataset"]["numbers"]
    walked = []
    for number in range(FIRST, FIRST + numbers):
        answer = await client.get(f"/ephemeral/{number}.json")
        body = answer.body
        is_json = answer.status == 200 and body.startswith(b"{")
        walked.append((number, answer.status, msgspec.json.decode(body) if is_json else None))
    return walked


async def played_ids(client: Client) -> set[int]:
    return set(await client.json("/standin/killmails"))


async def test_file_has_the_killmail_exactly_and_all_of_zkb(
    start: Start, killmails_file: Path, lines: list[bytes]
) -> None:
    client = await start(killmails=killmails_file)
    for position, line in enumerate(lines):
        answer = await client.get(f"/ephemeral/{FIRST + position}.json")
        body = answer.body
        assert answer.content_type == "application/json"
        assert b'"esi":' + line + b',"zkb"' in body
        document = msgspec.json.decode(body)
        assert set(document) == KEYS
        assert set(document["zkb"]) == ZKB_KEYS
        assert document["sequence_id"] == FIRST + position
        assert document["uploaded_at"] == int(NOON)
        assert document["hash"] == killmail_hash(parse_killmail(line)) == document["zkb"]["hash"]


async def test_sequence_names_the_first_number_until_it_is_asked_for(start: Start) -> None:
    client = await start(synthetic=200)
    assert await client.json("/ephemeral/sequence.json") == {"sequence": FIRST}
    await client.get(f"/ephemeral/{FIRST}.json")
    assert await client.json("/ephemeral/sequence.json") == {"sequence": FIRST + 153}


async def test_sequence_trails_the_tip_by_less_than_51(start: Start, clock: Clock) -> None:
    client = await start(synthetic=300, rate_per_s=1.0, faults={"r2z2_from_start": False})
    for moved_s in (0, 50, 51, 101, 102, 290):
        clock.now_s = NOON + moved_s
        sequence = (await client.json("/ephemeral/sequence.json"))["sequence"]
        assert sequence == FIRST + moved_s // 51 * 51


async def test_404_at_the_tip_until_the_number_is_out(start: Start, clock: Clock) -> None:
    client = await start(rate_per_s=1.0)
    assert (await client.get(f"/ephemeral/{FIRST + 1}.json")).status == 404
    clock.now_s += 1
    assert (await client.get(f"/ephemeral/{FIRST + 1}.json")).status == 200
    assert (await client.get(f"/ephemeral/{FIRST - 1}.json")).status == 404
    assert (await client.get("/ephemeral/x1.json")).status == 404


async def test_file_expires_a_day_after_it_came_out(start: Start, clock: Clock) -> None:
    client = await start(rate_per_s=1.0)
    clock.now_s += 86_401
    assert (await client.get(f"/ephemeral/{FIRST}.json")).status == 404
    assert (await client.get(f"/ephemeral/{FIRST + 2}.json")).status == 200


async def test_empty_user_agent_is_refused(start: Start) -> None:
    client = await start()
    for path in (f"/ephemeral/{FIRST}.json", "/history/totals.json"):
        assert (await client.get(path, headers={"User-Agent": ""})).status == 403


async def test_sixteenth_request_of_a_second_is_banned_until_the_ban_is_over(
    start: Start, clock: Clock
) -> None:
    client = await start(limits=True, r2z2_ban_s=60)
    for _ in range(15):
        assert (await client.get(f"/ephemeral/{FIRST}.json")).status == 200
    refused = await client.get(f"/ephemeral/{FIRST}.json")
    assert refused.status == 429
    assert b"exceeded rate limit of 15/s" in refused.body
    clock.now_s += 59
    assert (await client.get("/history/totals.json")).status == 429
    clock.now_s += 60
    assert (await client.get(f"/ephemeral/{FIRST}.json")).status == 200
    assert (await client.stats())["r2z2"] == {"highest_per_s": 16, "refused": 2}


async def test_every_killmail_is_obtained_under_all_faults_at_once(start: Start) -> None:
    faults = {
        "hole_rate": 0.1,
        "null_rate": 0.1,
        "duplicate_rate": 0.1,
        "shuffle": 10,
        "html_rate": 0.2,
        "rewrite_rate": 0.1,
    }
    client = await start(synthetic=150, faults=faults)
    first, second = await walk(client), await walk(client)
    ids = [document["killmail_id"] for _, _, document in second if document]
    assert set(ids) - {None} == await played_ids(client)
    assert sum(document is None for _, _, document in second) < sum(
        document is None for _, _, document in first
    )
    fired = (await client.stats())["faults"]
    assert set(fired) == {"hole", "null", "html", "duplicate", "rewrite"}


async def test_hole_stays_a_hole(start: Start) -> None:
    client = await start(synthetic=50, faults={"hole_rate": 0.3})
    first, second = await walk(client), await walk(client)
    holes = [number for number, status, _ in first if status == 404]
    assert holes
    assert holes == [number for number, status, _ in second if status == 404]


async def test_null_file_has_neither_id_nor_hash(start: Start) -> None:
    client = await start(synthetic=50, faults={"null_rate": 0.3})
    nulls = [doc for _, _, doc in await walk(client) if doc and doc["killmail_id"] is None]
    assert nulls
    for document in nulls:
        assert document["hash"] is None
        assert document["zkb"]["href"].endswith("/killmails///")


async def test_html_comes_once_per_number(start: Start) -> None:
    client = await start(synthetic=1, faults={"html_rate": 1.0})
    first = await client.get(f"/ephemeral/{FIRST}.json")
    assert (first.status, first.content_type) == (200, "text/html")
    assert first.body.startswith(b"<")
    second = await client.get(f"/ephemeral/{FIRST}.json")
    assert (second.status, second.content_type) == (200, "application/json")


async def test_rewritten_file_reads_otherwise_once_a_later_one_says_so(start: Start) -> None:
    client = await start(synthetic=60, faults={"rewrite_rate": 0.3})
    before = {number: document for number, _, document in await walk(client)}
    updated = {doc["sequence_updated"] for doc in before.values() if "sequence_updated" in doc}
    assert updated
    after = {number: document for number, _, document in await walk(client)}
    for number, document in after.items():
        assert ("ganked" in document["zkb"]["labels"]) is (number in updated)
        assert document["esi"] == before[number]["esi"]


async def test_forced_status_answers_everything(start: Start) -> None:
    client = await start()
    for status in (403, 429, 503):
        await client.switch(r2z2_status=status)
        assert (await client.get("/ephemeral/sequence.json")).status == status
        assert (await client.get("/history/totals.json")).status == status
    await client.switch(r2z2_status=None)
    assert (await client.get("/ephemeral/sequence.json")).status == 200


async def test_history_of_each_day_agrees_with_the_files(start: Start) -> None:
    client = await start(synthetic=40)
    assert await client.json("/history/totals.json") == {"20260101": 40}
    hashes = await client.json("/history/20260101.json")
    bodies = await client.json("/history/raw/20260101.json")
    walked = {str(doc["killmail_id"]): doc for _, _, doc in await walk(client)}
    assert hashes == {id_: doc["hash"] for id_, doc in walked.items()}
    assert bodies == {id_: doc["esi"] for id_, doc in walked.items()}
    assert (await client.get("/history/20260102.json")).status == 404
    assert (await client.get("/history/raw/20260102.json")).status == 404


async def test_history_of_a_day_appears_at_six_of_the_next(start: Start, clock: Clock) -> None:
    new_year_s = 1_767_225_600
    clock.now_s = new_year_s + 86_400 + 6 * 3_600 - 1
    client = await start()
    assert await client.json("/history/totals.json") == {}
    clock.now_s += 1
    assert await client.json("/history/totals.json") == {"20260101": 20}
