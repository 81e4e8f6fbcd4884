"""Files that aren't there: late, for ever, or no longer; and a `sequence.json` that errs."""

from deploy.standin.faults import Absent
from tests.deploy.standin.conftest import NOON, Client, Clock, Start

FIRST = 96_000_000
DAY_S = 86_400


async def status(client: Client, number: int) -> int:
    return (await client.get(f"/ephemeral/{number}.json")).status


async def present(client: Client, count: int) -> list[int]:
    """List the offsets of the numbers that have a file."""
    return [n for n in range(count) if await status(client, FIRST + n) == 200]


async def test_late_file_comes_late_and_says_when_it_came(start: Start, clock: Clock) -> None:
    client = await start(synthetic=40, rate_per_s=1.0, faults={"late_rate": 0.5, "late_s": 100})
    clock.now_s += 40
    early = await present(client, 40)
    assert 5 < len(early) < 35
    late = next(n for n in range(40) if n not in early)
    clock.now_s = NOON + late + 99.9
    assert await status(client, FIRST + late) == 404
    clock.now_s += 0.1
    answer = await client.json(f"/ephemeral/{FIRST + late}.json")
    assert answer["uploaded_at"] == NOON + late + 100
    clock.now_s = NOON + 40 + 100
    assert await present(client, 40) == list(range(40))


async def test_run_of_late_numbers_holds_the_same_killmails(start: Start, clock: Clock) -> None:
    run = Absent(FIRST + 10, 26, late_s=20)
    client = await start(synthetic=60, faults={"absent": (run,)})
    assert await present(client, 60) == [*range(10), *range(36, 60)]
    clock.now_s += 20
    assert await present(client, 60) == list(range(60))


async def test_runs_absent_for_ever_take_no_killmail_with_them(start: Start, clock: Clock) -> None:
    client = await start(synthetic=60)
    assert await status(client, FIRST + 4) == 200
    runs = [{"first": FIRST + 10, "count": 26}, {"first": FIRST + 50, "count": 5}]
    await client.switch(absent=runs)
    clock.now_s += 3_600
    assert await present(client, 91) == [*range(10), *range(36, 50), *range(55, 91)]
    ids = {
        (await client.json(f"/ephemeral/{FIRST + n}.json"))["killmail_id"]
        for n in await present(client, 91)
    }
    assert ids == set(await client.json("/standin/killmails"))


async def test_files_of_more_than_a_day_ago_are_gone(start: Start, clock: Clock) -> None:
    client = await start(rate_per_s=1.0, released_before_s=DAY_S + 10)
    assert await present(client, 20) == list(range(10, 20))
    clock.now_s += 5
    assert await present(client, 20) == list(range(15, 20))
    await client.switch(r2z2_expire_s=2 * DAY_S)
    assert await present(client, 20) == list(range(20))


async def test_sequence_names_an_old_number_a_lower_one_or_zero(start: Start) -> None:
    client = await start(synthetic=500, faults={"r2z2_from_start": False})
    tip = FIRST + 459
    assert await client.json("/ephemeral/sequence.json") == {"sequence": tip}
    await client.switch(sequence_behind=400, sequence_zero_next=1)
    assert await client.json("/ephemeral/sequence.json") == {"sequence": 0}
    assert await client.json("/ephemeral/sequence.json") == {"sequence": tip - 400}
    await client.ask("PUT", "/standin/faults?for_s=9", json={"sequence_number": FIRST + 3})
    assert await client.json("/ephemeral/sequence.json") == {"sequence": FIRST + 3}
    assert await status(client, tip) == 200
