"""All settings in one frozen object, read from KILLSTREAM_* environment variables."""

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from difflib import get_close_matches
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from actors.shared.errors import Misconfigured
from actors.shared.postgres_url import read_url

PREFIX = "KILLSTREAM_"
NOT_SETTINGS = frozenset({"KILLSTREAM_SERVICES_DIR"})
"""Variables with our prefix that `just services` uses."""

_RABBITMQ_FORM: Final = "amqp|amqps://USER:PASSWORD@HOST:PORT/VHOST"
_RABBITMQ_OPTIONS: Final = frozenset(
    {
        *("blocked_connection_timeout", "channel_max", "client_properties", "connection_attempts"),
        *("frame_max", "heartbeat", "locale", "retry_delay", "socket_timeout", "ssl_options"),
        *("stack_timeout", "tcp_options"),
    }
)
"""Options of a URL. Source: pika's `URLParameters` (read 2026-11-26)."""
_REDIS_FORM: Final = "redis|rediss|unix://:PASSWORD@HOST:PORT/0"
_ORIGIN: Final = re.compile(r"https?://[a-z0-9.\[\]:-]+")
_SERVICE_LINK: Final = re.compile(
    r"KILLSTREAM_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
_SERVICE_ADDRESS: Final = re.compile(r"(tcp|udp|sctp)://")


def _url(form: str, *, several: bool = False) -> Callable[[str], str]:
    """Make a validator: the URL must have the scheme of this form, and valid hosts and ports."""
    schemes = form.partition("://")[0].split("|")

    def check(url: str) -> str:
        scheme, separator, rest = url.partition("://")
        if not url or (scheme == "unix" and scheme in schemes):
            return url
        if not separator or scheme not in schemes or url.split() != [url]:
            raise ValueError(f"must be {form}")
        for host in rest.partition("/")[0].split(",") if several else [rest]:
            _check_host(f"{scheme}://{host}", form)
        return url

    return check


def _check_host(url: str, form: str) -> None:
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:  # the error's text may contain the password
        named = False
    if not named:
        raise ValueError(f"names no host, or a wrong port: {form}")


def _database_url(url: str) -> str:
    if url:
        read_url(url)
    return url


def _rabbitmq_options(url: str) -> str:
    options = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    _check_names((name for name, _ in options), _RABBITMQ_OPTIONS)
    if options:
        from pika import URLParameters

        try:
            URLParameters(url)
        except Exception as error:  # whatever the values make of Python's literals
            raise ValueError(
                f"has an option with a wrong value: {', '.join(dict(options))}"
            ) from error
    return url


def _redis_options(url: str) -> str:
    if not url:
        return url
    from redis.asyncio import ConnectionPool, RedisError

    parts = urlsplit(url)
    database = parts.path.strip("/")
    if parts.scheme != "unix" and database and not database.isdecimal():
        raise ValueError(f"names no database by its number: {_REDIS_FORM}")
    try:
        ConnectionPool.from_url(url).make_connection()
    except TypeError:
        raise ValueError(
            f"has an unknown option among {', '.join(dict(parse_qsl(parts.query)))}"
        ) from None
    except (ValueError, RedisError) as error:
        raise ValueError(f"has an option with a wrong value: {error}") from None
    return url


def listed(value: str) -> list[str]:
    """Return the elements of a setting that is a list with commas."""
    return [element for text in value.split(",") if (element := text.strip())]


def _networks(value: str) -> str:
    for network in listed(value):
        try:
            ip_network(network)
        except ValueError as error:
            raise ValueError(f"{network} isn't an address or a network: {error}") from None
    return value


def _origins(value: str) -> str:
    for origin in listed(value):
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin} isn't an origin, as https://example.com")
    return value


def _check_names(names: Iterable[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise ValueError(f"has an unknown option {name}" + (f"; {near[0]}?" if near else ""))


HttpUrl = Annotated[str, AfterValidator(_url("https|http://HOST:PORT"))]
DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
RabbitmqUrl = Annotated[
    str, AfterValidator(_url(_RABBITMQ_FORM)), AfterValidator(_rabbitmq_options)
]
RedisUrl = Annotated[str, AfterValidator(_url(_REDIS_FORM)), AfterValidator(_redis_options)]
Networks = Annotated[str, AfterValidator(_networks)]
Origins = Annotated[str, AfterValidator(_origins)]
ClosedParts = Annotated[
    str, Field(pattern=r"^(\s*(introspection|graphiql|metrics|redis)\s*(,|$))*$")
]
CharacterIds = Annotated[str, Field(pattern=r"^(\s*[1-9]\d{0,18}\s*(,|$))*$")]
KafkaUrl = Annotated[str, AfterValidator(_url("kafka://HOST:PORT,HOST:PORT", several=True))]


class Settings(BaseSettings):
    """What an operator may set. Without a URL the embedded part takes its place."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    source: Literal["r2z2", "redisq", "none"] = "r2z2"
    """The upstream feed."""
    r2z2_url: HttpUrl = "https://r2z2.zkillboard.com"
    """Base of R2Z2; `/ephemeral/…` is appended."""
    r2z2_requests_per_s: float = Field(default=15, gt=0, allow_inf_nan=False)
    """Pace of polling. Above 15 the real upstream bans the address for an hour."""
    redisq_url: HttpUrl = "https://zkillredisq.stream"
    """A RedisQ server, with the path to poll (`/redisq`); without a path, `/listen.php`."""
    redisq_queue_id: str = ""
    """The queue's name at the RedisQ server; required with it, one for each deployment."""
    redisq_ttw_s: int = Field(default=10, ge=1, le=10)
    """How long one RedisQ poll may wait for a killmail."""
    redisq_filter: str = ""
    """A filter in RedisQ's own syntax, passed on to the server."""
    redisq_requests_per_s: float = Field(default=2, gt=0, allow_inf_nan=False)
    """Pace of polling. RedisQ refuses more than 2."""
    redisq_bodies: bool = False
    """Whether a RedisQ server's bodies are used as ESI's; else each is fetched by id and hash."""
    esi_url: HttpUrl = "https://esi.evetech.net"
    """Base of ESI; `/killmails/…` is appended."""
    esi_killmail_tokens: int = Field(default=3600, ge=0)
    """ESI's tokens for killmail bodies in one window, for all processes together; 0 is no limit."""
    esi_window_s: int = Field(default=900, ge=1)
    """Length of ESI's floating window."""
    esi_concurrency: int = Field(default=64, ge=1)
    """Requests to ESI in flight at once, per process."""
    esi_refreshes_per_hour: int = Field(default=3600, ge=0)
    """Characters, corporations, alliances and types refreshed from ESI in an hour, of each."""
    zkillboard_url: HttpUrl = "https://zkillboard.com"
    """Base of zKillboard's API, for imports of history; `/api/…` is appended."""
    everef_url: HttpUrl = "https://data.everef.net"
    """Base of EVE Ref's archives, for history by days; `/killmails/…` is appended."""
    sde_url: HttpUrl = (
        "https://developers.eveonline.com/static-data/eve-online-static-data-latest-jsonl.zip"
    )
    """CCP's archive of static data as JSON Lines, for the static universe."""
    sso_url: HttpUrl = "https://login.eveonline.com"
    """Base of EVE's single sign-on."""
    eve_client_id: str = ""
    """The application at developers.eveonline.com that users log in to; without it nobody can."""
    eve_client_secret: SecretStr = SecretStr("")
    """The application's secret; without it the application is a public client (PKCE alone)."""
    eve_callback_url: HttpUrl = "http://127.0.0.1:4000/auth/callback"
    """Where EVE sends users back to, as it is registered; https, except on this machine."""
    token_keys: SecretStr = SecretStr("")
    """Keys that encrypt tokens, newest first, with commas; `killstream keys new` makes one."""
    operators: CharacterIds = ""
    """Ids of the characters that are operators, with commas."""
    contact: str = ""
    """An address where CCP and zKillboard reach you; part of the User-Agent."""
    names_deadline_ms: int = Field(default=1500, ge=0)
    """How long publishing waits for names that aren't cached."""
    database_url: DatabaseUrl = ""
    """`postgresql://…`; without it an SQLite file in the data directory."""
    database_pool_size: int = Field(default=8, ge=1)
    """Connections to the database at most, per process."""
    rejected_days: int = Field(default=365, ge=0)
    """After how many days a rejected record is removed; 0 is never."""
    gaps_days: int = Field(default=400, ge=0)
    """After how many days a gap that hasn't grown is removed; 0 is never."""
    rabbitmq_url: RabbitmqUrl = ""
    """`amqp://…`; without it actors run inside the process."""
    rabbitmq_management_url: HttpUrl = ""
    """`http://…:15672`, RabbitMQ's management API, for rates and ages; optional."""
    redis_url: RedisUrl = ""
    """`redis://…`; without it events, budgets and locks stay inside the process."""
    kafka_url: KafkaUrl = ""
    """`kafka://host:9092`; without it a broker is started as a child, in memory."""
    kafka_replication: int = Field(default=1, ge=1)
    """Replicas of each topic that is created."""
    api_host: str = "127.0.0.1"
    """Where the gateway listens, and the `/metrics` of the other processes."""
    api_port: int = Field(default=4000, ge=0, le=65535)
    """Port of the gateway."""
    api_proxies: Networks = ""
    """Networks of the proxies before the gateway, with commas; only they tell who a client is."""
    api_trusted: Networks = ""
    """Networks whose clients aren't strangers, with commas, such as that of Prometheus."""
    api_closed: ClosedParts = ""
    """What strangers don't get, with commas: `introspection`, `graphiql`, `metrics`, `redis`."""
    api_origins: Origins = "*"
    """Origins whose pages may use the gateway in a browser, with commas; `*` is any."""
    api_connections: int = Field(default=20_000, ge=1)
    """Clients' connections at most, per process; fewer if the system allows fewer open files."""
    api_connections_per_client: int = Field(default=2_500, ge=1)
    """Connections of one client, at most half of all; a trusted proxy's aren't limited."""
    api_request_s: float = Field(default=15, gt=0, allow_inf_nan=False)
    """How long a client may take to send one request."""
    api_operation_cost: int = Field(default=500_000, ge=1)
    """The highest cost of one GraphQL operation."""
    api_cost_per_minute: int = Field(default=5_000_000, ge=1)
    """The cost of one client's GraphQL operations in a minute, per process."""
    api_operation_s: float = Field(default=10, gt=0, allow_inf_nan=False)
    """How long a GraphQL query may take."""
    api_answer_bytes: int = Field(default=16 * 1024 * 1024, ge=1)
    """The longest answer to a GraphQL operation."""
    api_streams_per_client: int = Field(default=100, ge=1)
    """Streams of one client at each of SSE, NDJSON and zKillboard's websocket, per process."""
    api_exports_per_client: int = Field(default=2, ge=1)
    """Exports of one client at once, per process."""
    api_files_per_s: float = Field(default=15, gt=0, allow_inf_nan=False)
    """Files of R2Z2 that one client may fetch in a second, per process."""
    api_polls_per_s: float = Field(default=2, gt=0, allow_inf_nan=False)
    """Polls of RedisQ that one client may begin in a second, per process."""
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """Port of `/metrics` in `killstream streams` and `killstream actors`; 0 is none."""
    namespace: str = Field(default="", pattern=r"^([a-z][a-z0-9-]*)?$")
    """Prefix of each topic, group, queue, channel and lock, for deployments that share servers."""
    data_dir: Annotated[Path, AfterValidator(Path.absolute)] = Field(
        default=Path(".killstream"), validate_default=True
    )
    """Directory of the embedded parts' files."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use arguments first, then the environment."""
        return init_settings, _Environment(settings_cls)

    def named(self, name: str) -> str:
        """Prefix the name of a topic, group, queue, channel or lock with the namespace."""
        return f"{self.namespace}.{name}" if self.namespace else name

    @property
    def database_dsn(self) -> str:
        """SQLAlchemy's URL of the database: the SQLite file, or the first host."""
        if not self.database_url:
            return f"sqlite+aiosqlite:///{self.data_dir / 'killstream.db'}"
        parts = urlsplit(read_url(self.database_url).dsns[0])
        return f"postgresql+asyncpg://{parts.netloc}{parts.path}"

    @property
    def kafka_bootstrap(self) -> str:
        """The Kafka servers as `host:port,host:port`."""
        return self.kafka_url.removeprefix("kafka://")


class _Environment(PydanticBaseSettingsSource):
    """Reads settings from the environment."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the value of one setting; None when it isn't set."""
        return environment().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return all values that are set."""
        return {k: v for k, v in environment().items() if k in Settings.model_fields}


def environment() -> dict[str, str]:
    """Return the KILLSTREAM_* variables by lower-case name without the prefix.

    Empty values are ignored, and so are the variables that Kubernetes adds for a service whose
    name starts with `killstream`.

    Source: Kubernetes' documentation, "Service: environment variables" (read 2026-11-26).
    """
    return {
        name.upper().removeprefix(PREFIX).lower(): value
        for name, value in os.environ.items()
        if name.upper().startswith(PREFIX) and value and not _is_foreign(name.upper(), value)
    }


def _is_foreign(name: str, value: str) -> bool:
    return (
        name in NOT_SETTINGS
        or _SERVICE_LINK.fullmatch(name) is not None
        or (name.endswith("_PORT") and _SERVICE_ADDRESS.match(value) is not None)
    )


@cache
def settings() -> Settings:
    """Read the settings once.

    Raises:
        Misconfigured: a KILLSTREAM_* name is unknown, or values are invalid or conflict; lists
            all of them in one line.
    """
    wrong = list(_unknown())
    try:
        read = Settings()
    except ValidationError as error:
        wrong += [
            f"{_variable(str(e['loc'][0]))}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        ]
    else:
        wrong += _conflicts(read)
    if wrong:
        raise Misconfigured("; ".join(wrong))
    return read


def _unknown() -> Iterator[str]:
    for name in sorted(environment().keys() - Settings.model_fields.keys()):
        near = get_close_matches(name, Settings.model_fields, 1)
        advice = (
            f"did you mean {_variable(near[0])}?" if near else "`killstream settings` lists all"
        )
        yield f"unknown setting {_variable(name)}: {advice}"


def _conflicts(settings: Settings) -> Iterator[str]:
    if settings.source == "redisq" and not settings.redisq_queue_id.strip():
        yield "KILLSTREAM_REDISQ_QUEUE_ID is missing: a name for this deployment"
    if not (settings.contact.isascii() and settings.contact.strip().isprintable()):
        yield "KILLSTREAM_CONTACT must be one line of ASCII"

    if settings.eve_client_id and not settings.token_keys.get_secret_value():
        yield "KILLSTREAM_TOKEN_KEYS is missing: users log in; `killstream keys new` makes a key"
    if not _is_safe(settings.eve_callback_url):
        yield "KILLSTREAM_EVE_CALLBACK_URL must be https, except on this machine"


def _is_safe(url: str) -> bool:
    """Tell whether a code may be sent to this address."""
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in ("127.0.0.1", "localhost", "::1")


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def masked(url: str) -> str:
    """Mask the passwords in a URL, for logs and health answers."""
    return _QUERY_SECRET.sub(r"\1***", _PASSWORD.sub(r"\1***@", url))


_PASSWORD = re.compile(r"(://[^:@/]*:).*@")
_QUERY_SECRET = re.compile(r"([?&]\w*(?:password|secret|token|key)\w*=)[^&]*", re.IGNORECASE)
