"""Whose pages may use a session, and how its cookie looks."""

from pathlib import Path

import pytest
from starlette.requests import HTTPConnection
from starlette.responses import Response

from actors.shared.settings import Settings
from actors.users.sessions import open_session
from api.database import DatabaseUnavailable
from api.login.cookies import cookie_name, delete_cookie, read_cookie, set_cookie
from api.login.origin import may_use_cookies, origin_of
from api.users.state import open_users, translated_errors

PUBLIC = Settings(eve_callback_url="https://Kills.Example.org/auth/callback")
LOCAL = Settings(eve_callback_url="http://127.0.0.1:4000/auth/callback")
SECRET = "s" * 43


def connection(kind: str, method: str = "GET", **headers: str) -> HTTPConnection:
    listed = [(name.encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection({"type": kind, "method": method, "headers": listed})


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Kills.Example.org/auth/callback", "https://kills.example.org"),
        ("https://kills.example.org:443/auth/callback", "https://kills.example.org"),
        ("https://kills.example.org:8443/x", "https://kills.example.org:8443"),
        ("http://[::1]:4000/auth/callback", "http://[::1]:4000"),
    ],
)
def test_origin_is_written_as_browsers_do(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    ("kind", "method", "origin", "counts"),
    [
        ("http", "POST", "https://kills.example.org", True),
        ("http", "GET", "https://kills.example.org", True),
        ("http", "GET", None, True),
        ("http", "POST", None, False),
        ("http", "POST", "null", False),
        ("http", "POST", "http://kills.example.org", False),
        ("http", "POST", "https://kills.example.org:8443", False),
        ("http", "POST", "https://kills.example.org.evil.example", False),
        ("http", "GET", "https://evil.example", False),
        ("websocket", "GET", "https://kills.example.org", True),
        ("websocket", "GET", None, False),
        ("websocket", "GET", "https://evil.example", False),
    ],
)
def test_cookies_count_for_our_own_pages_only(
    kind: str, method: str, origin: str | None, counts: bool
) -> None:
    # The Host header is what a foreign page's own DNS says: it must not matter.
    headers = {"host": "evil.example"} | ({} if origin is None else {"origin": origin})
    assert may_use_cookies(connection(kind, method, **headers), PUBLIC) == counts


def test_public_gateways_cookie_is_secure_and_bound_to_its_host() -> None:
    assert cookie_name(PUBLIC, "session") == "__Host-killstream_session"
    for change in (set_cookie, delete_cookie):
        answer = Response()
        arguments = (SECRET,) if change is set_cookie else ()
        change(answer, PUBLIC, "session", *arguments)
        written = answer.headers["set-cookie"].lower()
        for attribute in ("httponly", "secure", "samesite=lax", "path=/"):
            assert attribute in written
        assert "domain" not in written


def test_only_values_that_we_set_are_read() -> None:
    name = cookie_name(LOCAL, "session")
    for value, expected in ((SECRET, SECRET), ("x", None), ("é" * 43, None), ("", None)):
        read = read_cookie(connection("http", cookie=f"{name}={value}"), LOCAL, "session")
        assert read == expected


async def test_database_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url="postgresql://u:p@127.0.0.1:1/d")
    async with open_users(settings) as users:
        with (
            pytest.raises(DatabaseUnavailable, match="the database can't be used"),
            translated_errors(),
        ):
            async with users.database.begin() as opened:
                await open_session(opened, "account", "bearer")
