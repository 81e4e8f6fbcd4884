"""Settings: wrong ones are refused by name, secrets are never said."""

from collections.abc import Iterator

import pytest

from actors.shared.errors import Misconfigured
from actors.shared.settings import Settings, masked, settings


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_values_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KILLSTREAM_API_PORT", "4711")
    monkeypatch.setenv("KILLSTREAM_SOURCE", "redisq")
    assert (settings().api_port, settings().source) == (4711, "redisq")


@pytest.mark.parametrize("name", ["KILLSTREAM_DATABASE_ULR", "killstream_databse_url"])
def test_a_misspelt_name_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(Misconfigured, match=name):
        settings()


def test_other_peoples_names_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_KILLSTREAM_THING", "x")
    monkeypatch.setenv("KILLSTREAM_SERVICES_DIR", "x")
    assert isinstance(settings(), Settings)


def test_wrong_values_are_all_named_without_being_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KILLSTREAM_API_PORT", "70000")
    monkeypatch.setenv("KILLSTREAM_SOURCE", "s3cret")
    with pytest.raises(Misconfigured) as refusal:
        settings()
    assert "KILLSTREAM_API_PORT: " in str(refusal.value)
    assert "KILLSTREAM_SOURCE: " in str(refusal.value)
    assert "s3cret" not in str(refusal.value)


def test_settings_can_not_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().api_port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://:s3cret@host:6379/0", "redis://:***@host:6379/0"),
        ("amqp://user:s3cret@host/vhost", "amqp://user:***@host/vhost"),
        ("postgresql+asyncpg://u:s3c@ret@host/db", "postgresql+asyncpg://u:***@host/db"),
        ("amqp://u:s3cret@[::1]:5672", "amqp://u:***@[::1]:5672"),
        ("redis://host/0?password=s3cret&db=1", "redis://host/0?password=***&db=1"),
        ("sqlite+aiosqlite:///data/killstream.db", "sqlite+aiosqlite:///data/killstream.db"),
        ("", ""),
    ],
)
def test_a_password_in_a_url_is_masked(url: str, shown: str) -> None:
    assert masked(url) == shown


@pytest.mark.parametrize("url", ["redis://u:s3cret@[host", "amqp://u:s3c/ret@host"])
def test_a_url_that_can_not_be_read_shows_no_password(url: str) -> None:
    assert "s3c" not in masked(url)


def test_a_kafka_url_gives_its_servers() -> None:
    assert Settings(kafka_url="kafka://a:1,b:2").kafka_bootstrap == "a:1,b:2"


def test_a_namespace_goes_before_a_name() -> None:
    assert Settings().named("killmails") == "killmails"
    assert Settings(namespace="test-2").named("killmails") == "test-2.killmails"


@pytest.mark.parametrize("namespace", ["Test", "a.b", "a b", "a\n", "\u00e4"])
def test_a_namespace_that_a_server_could_refuse_is_refused(namespace: str) -> None:
    with pytest.raises(ValueError, match="namespace"):
        Settings(namespace=namespace)
