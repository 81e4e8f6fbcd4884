"""PostgreSQL's URL, in every form that providers and other programs give it."""

import pytest
from sqlalchemy import text

from actors.shared.database import open_database, reading
from actors.shared.postgres_url import read_url
from actors.shared.settings import Settings
from tests.support.servers import server_urls


@pytest.mark.parametrize(
    ("url", "dsn"),
    [
        ("postgresql://u:p@h:5432/d", "postgresql://u:p@h:5432/d"),
        ("postgres://u:p@h:5432/d", "postgresql://u:p@h:5432/d"),
        ("postgresql+asyncpg://u:p@h/d", "postgresql://u:p@h/d"),
        ("postgresql+psycopg2://u:p@h/d", "postgresql://u:p@h/d"),
        ("postgresql://u:p@h/d?sslmode=require", "postgresql://u:p@h/d?sslmode=require"),
        ("postgresql+asyncpg://u:p@h/d?sslmode=require", "postgresql://u:p@h/d?sslmode=require"),
        ("postgresql+asyncpg://u:p@h/d?ssl=false", "postgresql://u:p@h/d?sslmode=disable"),
        (
            "postgresql+asyncpg://u:p@h/d?ssl=verify-full",
            "postgresql://u:p@h/d?sslmode=verify-full",
        ),
        (
            "postgres://u:p@h/d?sslmode=require&channel_binding=require&connect_timeout=9",
            "postgresql://u:p@h/d?sslmode=require",
        ),
        ("postgresql://u:p@[::1]:5432/d", "postgresql://u:p@[::1]:5432/d"),
        ("postgresql://u:p@ss%3Aw@h/d", "postgresql://u:p%40ss%3Aw@h/d"),
        ("postgresql:///d?host=/run/postgresql", "postgresql:///d?host=%2Frun%2Fpostgresql"),
    ],
)
def test_a_url_is_read(url: str, dsn: str) -> None:
    assert read_url(url).dsns == (dsn,)


@pytest.mark.parametrize("option", ["pgbouncer=true", "prepared_statement_cache_size=0"])
def test_a_url_may_say_that_a_pooler_is_in_between(option: str) -> None:
    target = read_url(f"postgresql://u:p@h/d?{option}&application_name=ours")
    assert target.behind_pooler
    assert target.dsns == ("postgresql://u:p@h/d?application_name=ours",)
    assert target.application_name == "ours"


def test_a_url_may_name_several_hosts() -> None:
    assert read_url("postgresql://u:p@a:1,b:2/d?sslmode=require").dsns == (
        "postgresql://u:p@a:1/d?sslmode=require",
        "postgresql://u:p@b:2/d?sslmode=require",
    )


@pytest.mark.service
@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
@pytest.mark.parametrize("option", ["", "?sslmode=disable", "?ssl=prefer&application_name=ours"])
async def test_a_url_opens_a_connection(scheme: str, option: str) -> None:
    place = server_urls()["database_url"].partition("://")[2]
    settings = Settings(database_url=f"{scheme}://{place}{option}")
    async with open_database(settings, "test") as database, reading(database) as connection:
        name = await connection.scalar(text("SHOW application_name"))
    assert name == ("ours" if "application_name" in option else "killstream/test")
