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
    monkeypatch.setenv("KILLSTREAM_SOURCE", "none")
    assert (settings().api_port, settings().source) == (4711, "none")


@pytest.mark.parametrize("name", ["KILLSTREAM_DATABASE_ULR", "killstream_databse_url"])
def test_a_misspelt_name_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(Misconfigured, match=name.upper()):
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


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("R2Z2_URL", "r2z2.zkillboard.com", "must be https|http://HOST:PORT"),
        ("R2Z2_URL", "ftp://r2z2.zkillboard.com", "must be https|http://HOST:PORT"),
        ("ESI_URL", "https:///killmails", "names no host"),
        ("REDISQ_URL", "https://a b", "must be https|http://HOST:PORT"),
        ("RABBITMQ_URL", "127.0.0.1:5672", "must be amqp|amqps://"),
        ("RABBITMQ_URL", "amqp://u:s3cret@host:port/", "names no host, or a wrong port"),
        ("RABBITMQ_URL", "amqp://u:s3cret@h/v?heartbeat=soon", "a wrong value: heartbeat"),
        ("RABBITMQ_URL", "amqp://u:s3cret@h/v?ssl_options={", "a wrong value: ssl_options"),
        ("RABBITMQ_URL", "amqp://u:s3cret@h/v?heartbaet=5", "option heartbaet; heartbeat?"),
        ("REDIS_URL", "http://127.0.0.1", "must be redis|rediss|unix://"),
        ("REDIS_URL", "redis://:s3cret@h/first", "names no database by its number"),
        ("REDIS_URL", "redis://:s3cret@h/0?timeout=3", "unknown option among timeout"),
        ("REDIS_URL", "redis://:s3cret@h/0?socket_timeout=x", "wrong value: Invalid value for 's"),
        ("KAFKA_URL", "127.0.0.1:9092", "must be kafka://HOST:PORT"),
        ("KAFKA_URL", "kafka://a:9092,:9092", "names no host"),
        ("DATABASE_URL", "mysql://u:s3cret@h/d", "must be postgresql://"),
        ("DATABASE_URL", "postgresql:///d", "names no host"),
        ("DATABASE_URL", "postgresql://u:s3cret@h/d?sslmod=require", "option sslmod; sslmode?"),
        ("DATABASE_URL", "postgresql://u:s3cret@h/d?sslmode=on", "unknown sslmode"),
        ("DATABASE_URL", "postgresql://u:s3/cret@h/d", "percent-encode"),
        ("DATABASE_URL", "postgresql://u:s3cret@h:99999/d", "correct the port"),
        ("DATABASE_URL", "postgresql://u:s3cret@h/d?sslrootcert=/no/ca", "sslrootcert that isn't"),
        ("DATABASE_URL", "postgresql://u:s3cret@h/d?target_session_attrs=x", "unknown target_se"),
        ("R2Z2_REQUESTS_PER_S", "inf", "a finite number"),
        ("SOURCE", "redisq", "KILLSTREAM_REDISQ_QUEUE_ID is missing"),
        ("CONTACT", "ops@bücher.example", "KILLSTREAM_CONTACT must be one line of ASCII"),
    ],
)
def test_what_is_wrong_is_said_with_its_name_and_without_secrets(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"KILLSTREAM_{name}", value)
    with pytest.raises(Misconfigured) as refusal:
        settings()
    reason = str(refusal.value)
    assert said in reason
    assert "KILLSTREAM_" in reason
    assert not [part for part in ("s3", "cret", "\n") if part in reason]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RABBITMQ_URL", "amqps://u:p@h/v?heartbeat=9&blocked_connection_timeout=30"),
        ("REDIS_URL", "rediss://u:p@h:6380/3?socket_keepalive=yes&client_name=a"),
        ("REDIS_URL", "redis://h"),
        ("REDIS_URL", "unix:///run/redis.sock?db=2"),
        ("DATABASE_URL", "postgresql://u:p@h/d?target_session_attrs=read-write"),
    ],
)
def test_options_of_a_server_in_its_url_are_taken(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"KILLSTREAM_{name}", value)
    assert getattr(settings(), name.lower()) == value


def test_an_unknown_name_is_said_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KILLSTREAM_DATABASE_ULR", "x")
    with pytest.raises(Misconfigured, match=r"ULR: did you mean KILLSTREAM_DATABASE_URL\?"):
        settings()


def test_all_mistakes_are_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KILLSTREAM_DATABASE_ULR", "x")
    monkeypatch.setenv("KILLSTREAM_API_PORT", "x")
    with pytest.raises(Misconfigured, match=r"DATABASE_ULR.*; KILLSTREAM_API_PORT: "):
        settings()


def test_what_kubernetes_adds_for_services_sets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for service in ("KILLSTREAM", "KILLSTREAM_API", "KILLSTREAM_METRICS"):
        monkeypatch.setenv(f"{service}_SERVICE_HOST", "10.0.0.7")
        monkeypatch.setenv(f"{service}_SERVICE_PORT", "4000")
        monkeypatch.setenv(f"{service}_SERVICE_PORT_HTTP", "4000")
        monkeypatch.setenv(f"{service}_PORT", "tcp://10.0.0.7:4000")
        monkeypatch.setenv(f"{service}_PORT_4000_TCP", "tcp://10.0.0.7:4000")
        for what in ("PROTO", "PORT", "ADDR"):
            monkeypatch.setenv(f"{service}_PORT_4000_TCP_{what}", "4000")
    assert (settings().api_port, settings().metrics_port) == (4000, 0)
    monkeypatch.setenv("KILLSTREAM_API_PORT", "4711")
    settings.cache_clear()
    assert settings().api_port == 4711


def test_an_empty_variable_sets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KILLSTREAM_API_PORT", "")
    monkeypatch.setenv("KILLSTREAM_R2Z2_URL", "")
    assert (settings().api_port, settings().r2z2_url) == (4000, "https://r2z2.zkillboard.com")
