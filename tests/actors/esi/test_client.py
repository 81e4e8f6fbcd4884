"""The ESI client against the stand-in, and against servers that say what it never says."""

import asyncio
from uuid import uuid4

import aiohttp
import pytest
import structlog
from aiohttp import web
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from actors.esi import client as esi_module
from actors.esi.answer import DEFAULT_PAUSE_MS, Answer, EsiName, decode_names, tokens_of
from actors.esi.budget import BUCKETLESS, KILLMAIL, Paused, Terms
from actors.esi.client import Esi
from actors.esi.errors import Garbled, Refused, Unavailable, UnexpectedStatus
from actors.esi.local_budget import LocalBudget
from actors.esi.redis_budget import RedisBudget
from actors.esi.request import Request
from actors.shared.errors import RetryLater
from actors.shared.killmail import MAX_BODY_BYTES
from actors.shared.settings import Settings
from deploy.standin.killmails import UpstreamKillmail
from deploy.standin.server import Standin
from tests.support.esi import esi_client, esi_that_says, set_faults, standin
from tests.support.servers import server_urls


def requests(upstream: Standin, endpoint: str) -> int:
    """Count what the stand-in was asked at one endpoint."""
    counted = upstream.playback.stats.requests.items()
    return sum(count for (_, asked, _), count in counted if asked == endpoint)


async def get(esi: Esi, played: UpstreamKillmail) -> bytes:
    """Fetch a killmail, however long ESI wants us to wait."""
    while True:
        try:
            return await esi.killmail(played.killmail_id, played.killmail_hash)
        except RetryLater as wait:
            await asyncio.sleep(wait.delay_ms / 1000)


async def test_body_is_what_esi_gave_byte_for_byte() -> None:
    async with standin(50) as upstream, esi_client(upstream) as esi:
        for played in upstream.dataset.killmails:
            assert await esi.killmail(played.killmail_id, played.killmail_hash) == played.body


async def test_what_is_left_of_the_budget_is_a_metric() -> None:
    async with standin(2) as upstream, esi_client(upstream) as esi:
        left = []
        for played in upstream.dataset.killmails:
            await get(esi, played)
            left.append(
                REGISTRY.get_sample_value("killstream_esi_tokens_left", {"group": KILLMAIL})
            )
    assert left == [3598, 3596]


async def test_wrong_hash_is_refused_at_once() -> None:
    async with standin() as upstream, esi_client(upstream) as esi:
        with pytest.raises(Refused, match=r"422.*Invalid killmail_id and/or killmail_hash"):
            await esi.killmail(upstream.dataset.killmails[0].killmail_id, "0" * 40)
        assert requests(upstream, "killmail") == 1


async def test_known_etag_is_answered_304_and_costs_one_token() -> None:
    async with standin() as upstream, esi_client(upstream) as esi:
        played = upstream.dataset.killmails[0]
        path = f"/killmails/{played.killmail_id}/{played.killmail_hash}"
        first = await esi.ask(Request(KILLMAIL, path), lambda answer: answer)
        known = Request(KILLMAIL, path, etag=first.headers["ETag"])
        again = await esi.ask(known, lambda answer: answer)
        assert (first.status, again.status, again.body) == (200, 304, b"")
        assert again.number("X-Ratelimit-Used") == tokens_of(304) == 1


async def test_nothing_is_lost_when_a_fifth_of_the_answers_is_502() -> None:
    async with standin(100) as upstream, esi_client(upstream) as esi:
        set_faults(upstream, esi_error_rate=0.2)
        wanted = list(upstream.dataset.killmails)
        bodies = await asyncio.gather(*(patiently(esi, played) for played in wanted))
        assert bodies == [played.body for played in wanted]
        assert upstream.playback.stats.faults["esi_error"] > 0


async def patiently(esi: Esi, played: UpstreamKillmail) -> bytes:
    while True:
        try:
            return await get(esi, played)
        except Unavailable:
            continue


async def test_gives_up_for_now_when_esi_keeps_failing() -> None:
    async with standin() as upstream, esi_client(upstream) as esi:
        set_faults(upstream, esi_fail_next=4, esi_error_status=500)
        played = upstream.dataset.killmails[0]
        with pytest.raises(Unavailable, match="500"):
            await esi.killmail(played.killmail_id, played.killmail_hash)
        assert requests(upstream, "killmail") == 4
        assert await get(esi, played) == played.body


@pytest.mark.service
async def test_two_processes_never_go_above_the_budget_and_use_it() -> None:
    tokens, window_s = 40, 1.0
    async with (
        standin(60, esi_tokens=tokens, esi_window_s=window_s) as upstream,
        Redis.from_url(server_urls()["redis_url"]) as redis,
    ):
        set_faults(upstream, esi_latency_ms=20)
        terms = Terms({KILLMAIL: tokens}, int(window_s * 1000))
        name = uuid4().hex
        mine, yours = RedisBudget(terms, redis, name), RedisBudget(terms, redis, name)
        async with esi_client(upstream, mine) as one, esi_client(upstream, yours) as two:
            wanted = list(upstream.dataset.killmails)
            bodies = await asyncio.gather(
                *(get(esi, played) for esi, played in zip([one, two] * 30, wanted, strict=True))
            )
        assert bodies == [played.body for played in wanted]
        counted = upstream.control.counted()["esi"]
        assert counted["refused"] == 0
        assert tokens - 5 < counted["tokens_highest"] <= tokens


async def test_a_restart_learns_from_esi_what_was_spent_before() -> None:
    async with standin(60, esi_tokens=40) as upstream:
        wanted = list(upstream.dataset.killmails)
        async with esi_client(upstream, esi_killmail_tokens=40) as esi:
            for played in wanted[:16]:
                await esi.killmail(played.killmail_id, played.killmail_hash)
        async with esi_client(upstream, esi_killmail_tokens=40) as esi:
            answers = await asyncio.gather(
                *(esi.killmail(p.killmail_id, p.killmail_hash) for p in wanted[16:]),
                return_exceptions=True,
            )
        assert sum(isinstance(answer, bytes) for answer in answers) == 2
        assert sum(isinstance(answer, RetryLater) for answer in answers) == 42
        assert upstream.control.counted()["esi"]["refused"] == 0


async def test_429_pauses_the_group_until_retry_after() -> None:
    asked = 0

    async def say(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.json_response({"error": "slow down"}, status=429, headers={"Retry-After": "77"})

    async with esi_that_says(say) as esi:
        with pytest.raises(RetryLater) as wait:
            await esi.killmail(1, "0" * 40)
        assert wait.value.delay_ms == 77_000
        with pytest.raises(Paused):
            await esi.killmail(1, "0" * 40)
        assert asked == 1


async def test_420_pauses_every_route_until_the_reset() -> None:
    async with standin(esi_errors=1) as upstream, esi_client(upstream) as esi:
        async with aiohttp.ClientSession() as somebody_else:
            await somebody_else.post(f"{upstream.url}/universe/names", json=[0])
        played = upstream.dataset.killmails[0]
        with pytest.raises(RetryLater, match="error limit") as wait:
            await esi.killmail(played.killmail_id, played.killmail_hash)
        assert 0 < wait.value.delay_ms <= 60_000
        before = upstream.playback.stats.requests.total()
        with pytest.raises(Paused):
            await esi.names([30000142])
        with pytest.raises(Paused):
            await esi.killmail(played.killmail_id, played.killmail_hash)
        assert upstream.playback.stats.requests.total() == before


async def test_few_errors_left_pause_only_the_routes_that_count_them() -> None:
    async with standin(esi_errors=esi_module.MIN_ERRORS_LEFT) as upstream:
        set_faults(upstream, unknown_ids=(30000142,))
        async with esi_client(upstream) as esi:
            with pytest.raises(Refused):
                await esi.names([30000142])
            with pytest.raises(Paused, match="errors are left") as paused:
                await esi.names([30000144])
            assert paused.value.scope == BUCKETLESS
            played = upstream.dataset.killmails[0]
            assert await get(esi, played) == played.body


async def test_waits_while_tranquility_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(esi_module, "STATUS_S", 0.3)
    async with standin() as upstream, esi_client(upstream) as esi:
        set_faults(upstream, tranquility_down=True)
        wanted = list(upstream.dataset.killmails)[:20]
        outcomes = await asyncio.gather(
            *(esi.killmail(p.killmail_id, p.killmail_hash) for p in wanted), return_exceptions=True
        )
        assert all(isinstance(outcome, RetryLater | Unavailable) for outcome in outcomes)
        asked = requests(upstream, "killmail")
        with pytest.raises(Paused, match="Tranquility is down"):
            await esi.names([30000142])
        await asyncio.sleep(0.35)
        with pytest.raises(RetryLater, match="Tranquility is down"):
            await esi.killmail(wanted[0].killmail_id, wanted[0].killmail_hash)
        assert requests(upstream, "killmail") == asked  # only /status was asked meanwhile
        set_faults(upstream, tranquility_down=False)
        assert await get(esi, wanted[0]) == wanted[0].body


async def test_outages_while_tranquility_is_up_pause_nothing() -> None:
    async with standin() as upstream, esi_client(upstream) as esi:
        set_faults(upstream, esi_fail_next=esi_module.FAILURES_IN_A_ROW)
        wanted = list(upstream.dataset.killmails)[:2]
        bodies = [await patiently(esi, played) for played in wanted]
        assert bodies == [played.body for played in wanted]
        assert requests(upstream, "status") == 1


@pytest.mark.parametrize(
    "body",
    [b"<html>maintenance</html>", b"{}", b'{"killmail_id":1', b" " * (MAX_BODY_BYTES + 1)],
    ids=["html", "empty", "cut", "huge"],
)
async def test_what_is_no_killmail_is_garbled(body: bytes) -> None:
    async def say(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    async with esi_that_says(say) as esi:
        with pytest.raises(Garbled):
            await esi.killmail(1, "0" * 40)


async def test_the_body_of_another_killmail_is_garbled() -> None:
    async with standin() as upstream:
        other = upstream.dataset.killmails[0]

        async def say(_: web.Request) -> web.Response:
            return web.Response(body=other.body, content_type="application/json")

        async with esi_that_says(say) as esi:
            with pytest.raises(Garbled, match=f"the body is of killmail {other.killmail_id}"):
                await esi.killmail(1, "0" * 40)


@pytest.mark.parametrize("status", [301, 403, 410])
async def test_an_unexpected_status_of_one_killmail_pauses_nothing(status: int) -> None:
    async with standin(20) as upstream, esi_client(upstream) as esi:
        wanted = list(upstream.dataset.killmails)
        set_faults(upstream, esi_killmail_status={wanted[0].killmail_id: status})
        for _ in range(10):
            with pytest.raises(UnexpectedStatus, match=f"{status}.*No access"):
                await esi.killmail(wanted[0].killmail_id, wanted[0].killmail_hash)
        for played in wanted[1:]:
            assert await esi.killmail(played.killmail_id, played.killmail_hash) == played.body
        assert requests(upstream, "moved") == 0


async def test_an_unexpected_status_of_several_killmails_in_a_row_pauses_their_group() -> None:
    async with standin(20) as upstream, esi_client(upstream) as esi:
        wanted = list(upstream.dataset.killmails)
        set_faults(upstream, esi_killmail_status={p.killmail_id: 403 for p in wanted})
        for played in wanted[: esi_module.UNEXPECTED_IN_A_ROW]:
            with pytest.raises(UnexpectedStatus):
                await esi.killmail(played.killmail_id, played.killmail_hash)
        with pytest.raises(Paused, match="403") as paused:
            await esi.killmail(wanted[-1].killmail_id, wanted[-1].killmail_hash)
        assert paused.value.scope == KILLMAIL
        assert paused.value.delay_ms > 50_000
        assert await esi.names([30_000_142])  # other groups go on


async def test_a_ban_of_everything_is_no_trouble_of_a_killmail() -> None:
    async def say(_: web.Request) -> web.Response:
        return web.Response(status=403, text="banned")

    async with esi_that_says(say) as esi:
        for killmail_id in range(1, esi_module.UNEXPECTED_IN_A_ROW):
            with pytest.raises(UnexpectedStatus):
                await esi.killmail(killmail_id, "0" * 40)
        for killmail_id in range(10, 20):
            with pytest.raises(RetryLater):
                await esi.killmail(killmail_id, "0" * 40)


async def test_redirects_are_not_followed() -> None:
    async def say(_: web.Request) -> web.Response:
        raise web.HTTPFound("http://127.0.0.1:1/elsewhere")

    async with esi_that_says(say) as esi:
        with pytest.raises(UnexpectedStatus, match="302"):
            await esi.killmail(1, "0" * 40)


@pytest.mark.parametrize("kind", ["html", "empty", "cut"])
async def test_answers_that_are_no_killmails_are_an_outage(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(esi_module, "FAILURE_PAUSE_MS", (50, 400))
    async with standin(40) as upstream, esi_client(upstream) as esi:
        set_faults(upstream, esi_wrong=(kind,))
        wanted = list(upstream.dataset.killmails)
        with structlog.testing.capture_logs() as logs:
            outcomes = await asyncio.gather(
                *(esi.killmail(p.killmail_id, p.killmail_hash) for p in wanted),
                return_exceptions=True,
            )
            assert all(isinstance(outcome, Garbled | RetryLater) for outcome in outcomes)
            asked = requests(upstream, "killmail")
            for _ in range(5):  # while it lasts, one request after each pause
                await asyncio.gather(*(wait_a_pause(esi, p) for p in wanted))
            assert requests(upstream, "killmail") - asked < 5 * 10
            set_faults(upstream)
            assert [await patiently(esi, p) for p in wanted] == [p.body for p in wanted]
        said = [entry["event"] for entry in logs if entry["log_level"] != "debug"]
        assert said == ["esi.paused", "esi.resumed"]
        assert not any("killmail_time" in str(entry) for entry in logs)


async def wait_a_pause(esi: Esi, played: UpstreamKillmail) -> None:
    try:
        await esi.killmail(played.killmail_id, played.killmail_hash)
    except RetryLater as wait:
        await asyncio.sleep(wait.delay_ms / 1000)
    except Unavailable:
        pass


async def test_one_killmail_that_is_always_garbled_pauses_nothing() -> None:
    async with standin(2) as upstream, esi_client(upstream) as esi:
        bad, good = list(upstream.dataset.killmails)
        set_faults(upstream, esi_wrong=("html",))
        for _ in range(3):
            with pytest.raises(Garbled):
                await esi.killmail(bad.killmail_id, bad.killmail_hash)
        set_faults(upstream)
        assert await esi.killmail(good.killmail_id, good.killmail_hash) == good.body


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"error":"No \\u0000access\\n"}', "No  access "),
        (b"<html>secret</html>", "19 bytes without an error text"),
        (b"\xff", "1 bytes without an error text"),
    ],
)
def test_errors_are_one_printable_line_and_never_a_body(body: bytes, error: str) -> None:
    assert Answer(403, {}, body).error == error


def test_names_hold_nothing_that_no_column_takes() -> None:
    body = b'[{"id":1,"name":"a\\u0000b","category":"char\\u0000acter"}]'
    assert decode_names(body, {1}) == [EsiName(1, "ab", "character")]


async def test_names_of_other_ids_are_garbled() -> None:
    async def say(_: web.Request) -> web.Response:
        return web.json_response([])

    async with esi_that_says(say) as esi:
        with pytest.raises(Garbled, match="those in the request"):
            await esi.names([7])


async def test_an_esi_that_cannot_be_reached_is_left_alone_for_a_while() -> None:
    async with standin() as upstream:
        url = upstream.url
    budget = LocalBudget(Terms({}, 1000))
    async with aiohttp.ClientSession() as http:
        esi = Esi(Settings(esi_url=url), http, budget)
        for _ in range(2):
            with pytest.raises((Unavailable, RetryLater)):
                await esi.killmail(1, "0" * 40)
    with pytest.raises(Paused, match="ESI itself"):
        await budget.reserve(KILLMAIL)


async def test_an_esi_that_is_silent_is_given_up_in_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(esi_module, "TIMEOUT", aiohttp.ClientTimeout(total=0.3))
    monkeypatch.setattr(esi_module, "RETRY_WITHIN_S", 0.2)
    silent = asyncio.Event()

    async def say(_: web.Request) -> web.Response:
        await silent.wait()
        return web.Response()

    async with esi_that_says(say) as esi, asyncio.timeout(5):
        outcomes = await asyncio.gather(
            *(esi.killmail(i, "0" * 40) for i in range(1, 300)), return_exceptions=True
        )
        assert {type(outcome) for outcome in outcomes} <= {Unavailable, RetryLater, Paused}
        silent.set()


async def test_nobody_there_costs_no_tokens() -> None:
    async with standin() as upstream:
        url = upstream.url
    budget = LocalBudget(Terms({KILLMAIL: 5}, 900_000))
    async with aiohttp.ClientSession() as http:
        esi = Esi(Settings(esi_url=url), http, budget)
        with pytest.raises(Unavailable, match="can't connect"):
            await esi.killmail(1, "0" * 40)
    await budget.reserve(KILLMAIL)


async def test_says_who_asks_and_which_version_of_esi_is_meant() -> None:
    heard: list[web.Request] = []

    async def say(request: web.Request) -> web.Response:
        heard.append(request)
        return web.json_response([{"id": 7, "name": "Seven", "category": "inventory_type"}])

    async with esi_that_says(say) as esi:
        assert [found.name for found in await esi.names([7])] == ["Seven"]
    headers = heard[0].headers
    assert headers["User-Agent"].startswith("killstream/")
    assert headers["X-Compatibility-Date"] == "2026-08-18"
    assert headers["Accept-Encoding"] == "gzip"
    assert (heard[0].method, heard[0].path) == ("POST", "/universe/names")


async def test_compressed_answers_are_understood() -> None:
    async def say(_: web.Request) -> web.Response:
        answer = web.json_response([{"id": 7, "name": "Seven", "category": "inventory_type"}])
        answer.enable_compression(web.ContentCoding.gzip)
        return answer

    async with esi_that_says(say) as esi:
        assert [found.id for found in await esi.names([7])] == [7]


@pytest.mark.parametrize(
    ("status", "tokens"),
    [(200, 2), (304, 1), (404, 5), (422, 5), (429, 0), (500, 0), (504, 0)],
)
def test_cost_of_an_answer(status: int, tokens: int) -> None:
    assert tokens_of(status) == tokens


def test_headers_that_are_no_numbers_are_passed_over() -> None:
    answer = Answer(429, {"Retry-After": "Sat, 21 Nov 2026 11:00:00 GMT"}, b"")
    assert answer.number("Retry-After") is None
    assert answer.ms("Retry-After") == DEFAULT_PAUSE_MS
