"""Logging in with a browser: the way there, the page after it, and each way to fail."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from yarl import URL

from actors.shared.tables import (
    CORPORATION_SYNCS,
    DELAYED,
    LOGIN_STATES,
    SESSIONS,
    TOKENS,
    USER_KILLMAILS,
    USERS,
)
from tests.api.gateway import Writer, a_killmail
from tests.api.login.browser import ME, ON_BOTH, Browser, Gateway, failures


async def test_login_ends_on_the_page_that_says_what_happens_now(
    browser: Browser, gateway: Gateway
) -> None:
    begun = await browser.get("/auth/login?scopes=character,corporation")
    assert begun.status == 303
    assert set(begun.location.query["scope"].split()) == {
        "esi-killmails.read_killmails.v1",
        "esi-killmails.read_corporation_killmails.v1",
        "esi-characters.read_corporation_roles.v1",
    }
    landed = await browser.log_in()
    welcome = await browser.get(landed.location)
    assert welcome.status == 200
    assert gateway.character().name in welcome.text
    for said in ("100 recent killmails", "every 15 minutes", "import from zKillboard"):
        assert said in welcome.text
    assert "<script" not in welcome.text
    (user,) = await gateway.rows(select(USERS))
    assert (user.character_id, user.state) == (gateway.character().character_id, "active")
    assert user.next_sync_at <= datetime.now(UTC)
    me = (await browser.query(ME))["data"]["me"]
    assert me["characters"] == [{"characterId": user.character_id, "name": user.character_name}]
    assert me["roles"] == ["user"]


async def test_page_is_loaded_again_until_the_first_sync_is_done(
    browser: Browser, gateway: Gateway
) -> None:
    await browser.log_in()
    assert 'http-equiv="refresh"' in (await browser.get("/auth/welcome")).text
    now = datetime.now(UTC)
    done = {"first_synced_at": now, "last_killmail_sync_at": now, "last_sync_count": 7}
    async with gateway.database.begin() as connection:
        await connection.execute(update(USERS).values(done))
    page = (await browser.get("/auth/welcome")).text
    assert 'http-equiv="refresh"' not in page
    assert "synchronized" in page


@ON_BOTH
async def test_page_is_loaded_again_until_the_first_killmails_are_here(
    browser: Browser, gateway: Gateway, writer: Writer
) -> None:
    await browser.log_in()
    now, id_ = datetime.now(UTC), gateway.character().character_id
    listed = [{"character_id": id_, "killmail_id": one, "source": "s"} for one in (1, 2)]
    async with gateway.database.begin() as connection:
        synced = {"first_synced_at": now, "last_killmail_sync_at": now}
        await connection.execute(update(USERS).values(synced))
        await connection.execute(insert(USER_KILLMAILS), listed)
    await writer.store(a_killmail(1))
    page = (await browser.get("/auth/welcome")).text
    assert ("1 of 2" in page, 'http-equiv="refresh"' in page) == (True, True)
    async with gateway.database.begin() as connection:
        delayed = {"killmail_id": 2, "killmail_time": now, "reference": b"", "publish_at": now}
        await connection.execute(insert(DELAYED).values(delayed))
    page = (await browser.get("/auth/welcome")).text
    assert ("2 of 2" in page, 'http-equiv="refresh"' in page) == (True, False)


async def test_page_says_how_the_corporation_is(browser: Browser, gateway: Gateway) -> None:
    await browser.log_in(scopes="corporation")
    page = (await browser.get("/auth/welcome")).text
    assert "this login is for its corporation only" in page
    assert "roles are looked up" in page
    assert 'http-equiv="refresh"' in page
    async with gateway.database.begin() as connection:
        await connection.execute(
            insert(CORPORATION_SYNCS).values(
                corporation_id=7,
                character_id=gateway.character().character_id,
                state="refused",
                state_reason="not a <director>",
                created_at=datetime.now(UTC),
            )
        )
    page = (await browser.get("/auth/welcome")).text
    assert "not a <director>" in page
    assert 'http-equiv="refresh"' not in page


async def test_two_tabs_log_in_at_once(browser: Browser, gateway: Gateway) -> None:
    callbacks = [await browser.consent(0), await browser.consent(1)]
    assert [(await browser.get(one)).status for one in callbacks] == [303, 303]
    assert len(await gateway.rows(select(USERS))) == 2


async def test_page_escapes_names_and_reasons(browser: Browser, gateway: Gateway) -> None:
    await browser.log_in()
    async with gateway.database.begin() as connection:
        await connection.execute(
            update(USERS).values(character_name="<b>&", last_sync_error="<i>no</i>")
        )
    async with browser.http.get(f"{gateway.address}/auth/welcome") as answer:
        page = await answer.text()
    assert "&lt;b&gt;&amp;" in page
    assert "<b>" not in page
    assert "<i>" not in page


async def test_answers_are_not_stored_and_send_no_address_on(browser: Browser) -> None:
    callback = await browser.consent()
    answers = [
        await browser.get("/auth/login"),
        await browser.get(callback),
        await browser.get(callback),
        await browser.get("/auth/callback"),
    ]
    assert [answer.status for answer in answers] == [303, 303, 400, 400]
    for answer in answers:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    welcome = await browser.get("/auth/welcome")
    assert welcome.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in welcome.headers["Content-Security-Policy"]


async def test_cookies_are_out_of_reach_of_scripts(browser: Browser) -> None:
    await browser.log_in()
    for purpose in ("login", "session"):
        cookie = browser.cookie(f"killstream_{purpose}")
        assert cookie["httponly"]
        assert cookie["samesite"].lower() == "lax"
        assert cookie["path"] == "/"


async def test_second_login_adds_a_character_to_the_account(
    browser: Browser, gateway: Gateway
) -> None:
    await browser.log_in(0)
    await browser.log_in(1)
    me = (await browser.query(ME))["data"]["me"]
    wanted = {gateway.character(0).character_id, gateway.character(1).character_id}
    assert {one["characterId"] for one in me["characters"]} == wanted
    assert len(await gateway.rows(select(SESSIONS))) == 1


async def test_login_that_ends_after_a_logout_opens_an_account_of_its_own(
    browser: Browser, gateway: Gateway
) -> None:
    """On a shared computer the next person must not come into the account of the first."""
    await browser.log_in(0)
    callback = await browser.consent(1)
    origin = {"Origin": gateway.address}
    assert (await browser.send("POST", "/auth/logout", headers=origin)).status == 200
    assert (await browser.get(callback)).status == 303
    me = (await browser.query(ME))["data"]["me"]
    (character,) = me["characters"]
    assert character["characterId"] == gateway.character(1).character_id


async def test_logout_ends_the_session_itself(browser: Browser, gateway: Gateway) -> None:
    await browser.log_in()
    session = browser.cookie("killstream_session").value
    out = await browser.send("POST", "/auth/logout", headers={"Origin": gateway.address})
    assert (out.status, browser.cookie("killstream_session")) == (200, None)
    kept = {"Cookie": f"killstream_session={session}"}
    assert (await browser.get("/auth/welcome", headers=kept)).status == 401
    assert await gateway.rows(select(SESSIONS)) == []


async def _denied(browser: Browser) -> URL:
    begun = await browser.get("/auth/login")
    return (await browser.get(begun.location.update_query(deny="1"))).location


async def _replayed(browser: Browser) -> URL:
    callback = await browser.consent()
    assert (await browser.get(callback)).status == 303
    return callback


async def _of_another_browser(browser: Browser) -> URL:
    async with Browser(browser.gateway) as other:
        return await other.consent()


async def _expired(browser: Browser) -> URL:
    callback = await browser.consent()
    async with browser.gateway.database.begin() as connection:
        past = datetime.now(UTC) - timedelta(seconds=1)
        await connection.execute(update(LOGIN_STATES).values(expires_at=past))
    return callback


async def _without_code(browser: Browser) -> URL:
    return (await browser.consent()).without_query_params("code")


async def _with_a_wrong_code(browser: Browser) -> URL:
    return (await browser.consent()).update_query(code="wrong")


async def _with_a_used_code(browser: Browser) -> URL:
    used = await _replayed(browser)
    return (await browser.consent()).update_query(code=used.query["code"])


async def _eve_error(browser: Browser) -> URL:
    return URL("/auth/callback?error=invalid_scope&error_description=<b>x")


@pytest.mark.parametrize(
    ("way", "status", "reason", "said"),
    [
        (_denied, 403, "access_denied", "You declined"),
        (_replayed, 400, "invalid_state", "was used already"),
        (_of_another_browser, 400, "foreign_state", "another browser or program"),
        (_expired, 400, "invalid_state", "took too long"),
        (_without_code, 400, "incomplete", "lacks the code"),
        (_with_a_wrong_code, 400, "code_refused", "EVE refused the code"),
        (_with_a_used_code, 400, "code_refused", "EVE refused the code"),
        (_eve_error, 400, "eve_error", "EVE's login refused"),
    ],
)
async def test_failed_callback_says_why_and_lets_begin_again(
    browser: Browser, way: Any, status: int, reason: str, said: str
) -> None:
    callback, before = await way(browser), failures(reason)
    page = await browser.get(callback)
    assert (page.status, page.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert said in page.text
    assert 'href="/auth/login' in page.text
    assert failures(reason) == before + 1


async def test_state_of_another_browser_stays_valid_for_that_one(
    browser: Browser, gateway: Gateway
) -> None:
    async with Browser(gateway) as victim:
        callback = await victim.consent()
        assert (await browser.get(callback)).status == 400
        assert await gateway.rows(select(USERS)) == []
        assert (await victim.get(callback)).status == 303


@pytest.mark.parametrize(
    "wrong",
    ["application", "expired", "key", "none", "hmac"],
)
async def test_forged_access_token_logs_nobody_in(
    browser: Browser, gateway: Gateway, wrong: str
) -> None:
    await gateway.switch(sso_token_wrong=[wrong])
    callback, before = await browser.consent(), failures("token_forged")
    page = await browser.get(callback)
    assert (page.status, "can't be trusted" in page.text) == (502, True)
    assert browser.cookie("killstream_session") is None
    assert failures("token_forged") == before + 1
    for table in (USERS, TOKENS, SESSIONS):
        assert await gateway.rows(select(table)) == []


@pytest.mark.parametrize(
    "faults", [{"sso_alg": "ES256"}, {"sso_issuer": "host"}, {"sso_issuer": "slash"}]
)
async def test_each_right_form_of_access_token_is_taken(
    browser: Browser, gateway: Gateway, faults: dict[str, str]
) -> None:
    await gateway.switch(**faults)
    await browser.log_in()


@pytest.mark.parametrize("faults", [{"sso_status": 503}, {"sso_lost_next": 1}])
async def test_sso_that_fails_is_said_with_the_time_to_try_again(
    browser: Browser, gateway: Gateway, faults: dict[str, int]
) -> None:
    callback = await browser.consent()
    await gateway.switch(**faults)
    page = await browser.get(callback)
    assert (page.status, page.headers["Retry-After"]) == (503, "30")
    assert "doesn't answer" in page.text


async def test_sold_character_comes_without_what_its_former_owner_had(
    browser: Browser, gateway: Gateway
) -> None:
    await browser.log_in()
    (before,) = await gateway.rows(select(USERS))
    async with Browser(gateway) as buyer:
        await gateway.switch(sso_sold=[before.character_id])
        await buyer.log_in()
        (after,) = await gateway.rows(select(USERS))
        assert after.account_id != before.account_id
        assert (await buyer.query(ME))["data"]["me"]["accountId"] == after.account_id
    assert (await browser.query(ME))["data"]["me"] is None


@pytest.mark.parametrize("scopes", ["", "alliance", "character,alliance"])
async def test_unknown_scopes_are_refused(browser: Browser, scopes: str) -> None:
    page = await browser.get(f"/auth/login?scopes={scopes}")
    assert (page.status, "choose from character, corporation" in page.text) == (400, True)
