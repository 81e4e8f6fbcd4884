"""Arguments that no honest client sends are refused with a code, and never reach a database."""

from typing import Any, Final

import pytest

from actors.users import login
from api.database import ReadDatabase
from tests.api.login.browser import AUTHENTICATE, ME, ON_BOTH, Browser, Gateway, code_of, program

MINE: Final = "query ($f: MyKillmailsFilter) { myKillmails(filter: $f) { killmailId } }"
REVOKE: Final = "mutation ($id: ID!) { revokeApiKey(id: $id) }"
HALF_A_PAIR: Final = "\\ud800"
"""In JSON: an escape for half of a surrogate pair, which no encoding of Unicode has."""
SECRET: Final = "s" * 43
BODIES: Final = {
    "in the operation's name": '{"query": "{ __typename }", "operationName": "%s"}',
    "in a variable": '{"query": "query ($i: Long!) { killmail(id: $i) { killmailId } }",'
    ' "variables": {"i": "%s"}}',
    "in a variable's key": f'{{"query": "{MINE}", "variables": {{"f": {{"%s": 1}}}}}}',
    "in an enum": f'{{"query": "{MINE}", "variables": {{"f": {{"kind": "%s"}}}}}}',
    "in an id": f'{{"query": "{REVOKE}", "variables": {{"id": "%s"}}}}',
}


async def test_text_that_is_not_unicode_is_refused(gateway: Gateway) -> None:
    async with program(gateway) as asked:
        await asked.log_in()
        for where, body in BODIES.items():
            status, text = await send(gateway, asked.token, body % HALF_A_PAIR)
            assert (status, "isn't valid JSON" in text) == (400, True), where
            status, text = await send(gateway, asked.token, body % "\\ud83d\\ude00")
            assert "isn't valid JSON" not in text, where
            assert status < 500, where
            assert "INTERNAL" not in text, where


async def test_body_that_is_not_json_is_refused(gateway: Gateway) -> None:
    right = '{"query": "{ __typename }"}'
    for body, content_type, expected in (
        ("[" * 100_000 + "]" * 100_000, "application/json", 400),
        (right[:-1], "application/json", 400),
        ("[" + right + "]", "application/json; charset=UTF-8", 400),
        ('{"query": "{ __typename }", "variables": {"a": NaN}}', "application/json", 400),
        (right, "text/plain", 415),
        (right, "", 415),
        (right, ";;=,", 415),
        (right, "application/json; charset=utf-16", 415),
        (right, "application/x-www-form-urlencoded", 415),
        (right, "multipart/form-data; boundary=x", 415),
    ):
        status, text = await send(gateway, None, body, content_type)
        assert status == expected
        assert "JSON" in text or "application/json" in text or "batches" in text
    assert (await send(gateway, None, right, "application/json; charset=utf-8"))[0] == 200


async def send(
    gateway: Gateway, token: str | None, body: str, content_type: str = "application/json"
) -> tuple[int, str]:
    headers = {"Content-Type": content_type}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    url = f"{gateway.address}/graphql"
    async with (
        program(gateway) as client,
        client.http.post(url, data=body.encode(), headers=headers) as answer,
    ):
        return answer.status, await answer.text()


@ON_BOTH
async def test_times_are_those_that_databases_have(gateway: Gateway) -> None:
    async with program(gateway) as asked:
        await asked.log_in()
        for time in ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "now", 5, [5]):
            for name in ("since", "before"):
                answer = await asked.query(MINE, f={name: time})
                assert code_of(answer) == "GRAPHQL_VALIDATION_FAILED"
                assert "not a time like 2026-01-01T12:00:00Z" in answer["errors"][0]["message"]
        for time in ("0001-01-01T00:00:00", "9999-12-31T23:59:59Z", "2026-01-01T00:00:00+14:00"):
            assert (await asked.query(MINE, f={"since": time}))["data"] == {"myKillmails": []}


async def test_age_of_killmails_has_bounds(gateway: Gateway) -> None:
    async with (
        program(gateway) as asked,
        asked.http.ws_connect(
            f"{gateway.address}/graphql", protocols=["graphql-transport-ws"]
        ) as socket,
    ):
        await socket.send_json({"type": "connection_init"})
        await socket.receive_json()
        for days in (-1, 36_501, 2**31 - 1):
            document = f"subscription {{ killmailAdded(maxAge: {days}) {{ killmailId }} }}"
            message = {"type": "subscribe", "id": "1", "payload": {"query": document}}
            await socket.send_json(message)
            answer = await socket.receive_json(timeout=10)
            assert answer["type"] == "error"
            (error,) = answer["payload"]
            assert error["extensions"]["code"] == "BAD_USER_INPUT"
            assert error["message"] == f"maxAge: must be 0 to 36500 days, not {days}"


@ON_BOTH
async def test_key_that_cannot_be_is_not_found(gateway: Gateway) -> None:
    async with program(gateway) as asked:
        await asked.log_in()
        for id_ in ("\0" * 16, "x" * 16, "%" * 16, "a" * 17, "", "é" * 16):
            assert code_of(await asked.query(REVOKE, id=id_)) == "NOT_FOUND"


@pytest.fixture
def _no_hash_or_query(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise AssertionError("was hashed or looked up")

    monkeypatch.setattr(login, "hash_of", fail)
    monkeypatch.setattr(ReadDatabase, "fetch_one", fail)


@pytest.mark.usefixtures("_no_hash_or_query")
async def test_login_that_cannot_be_is_refused_unseen(gateway: Gateway, browser: Browser) -> None:
    cases: list[tuple[dict[str, str], str]] = [
        ({"code": ""}, "BAD_USER_INPUT"),
        ({"code": "x" * 4097}, "BAD_USER_INPUT"),
        ({"code": "a\0b"}, "BAD_USER_INPUT"),
        ({"code": "é"}, "BAD_USER_INPUT"),
        ({"state": ""}, "BAD_USER_INPUT"),
        ({"state": "s" * 44}, "INVALID_STATE"),
        ({"state": "é" * 43}, "INVALID_STATE"),
        ({"state": SECRET + "\n"}, "INVALID_STATE"),
        ({"secret": ""}, "INVALID_STATE"),
        ({"secret": "x" * 1_000_000}, "INVALID_STATE"),
    ]
    async with program(gateway) as asked:
        for changes, code in cases:
            given = {"code": "a-code", "state": SECRET, "secret": SECRET} | changes
            assert code_of(await asked.query(AUTHENTICATE, **given)) == code, changes
            if "secret" not in changes:
                query = {"code": given["code"], "state": given["state"]}
                assert (await browser.get("/auth/callback", params=query)).status == 400, changes


@pytest.mark.usefixtures("_no_hash_or_query")
async def test_token_that_cannot_be_is_refused_unseen(gateway: Gateway) -> None:
    async with program(gateway) as asked:
        for token in ("x", "x" * 44, "x" * 8_000, "é" * 43, "%" * 43):
            asked.token = token
            assert code_of(await asked.query(ME)) == "UNAUTHENTICATED"
