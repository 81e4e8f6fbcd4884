"""Every setting, in one frozen object, read from KILLSTREAM_* environment variables."""

import os
import re
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from actors.shared.errors import Misconfigured

PREFIX = "KILLSTREAM_"


class Settings(BaseSettings):
    """What an operator may set. Without a URL the embedded part takes its place."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    source: Literal["r2z2", "redisq", "none"] = "r2z2"
    """The upstream feed."""
    r2z2_url: str = "https://r2z2.zkillboard.com"
    """Base of R2Z2; `/ephemeral/…` is appended."""
    r2z2_requests_per_s: float = Field(default=15, gt=0)
    """Pace of polling. Above 15 the real upstream bans the address for an hour."""
    redisq_url: str = "https://zkillredisq.stream"
    """Base of a RedisQ server; `/listen.php` is appended."""
    redisq_queue_id: str = ""
    """The queue's name at the RedisQ server; required with it, one for each deployment."""
    redisq_ttw_s: int = Field(default=10, ge=1, le=10)
    """How long one RedisQ poll may wait for a killmail."""
    redisq_filter: str = ""
    """A filter in RedisQ's own syntax, passed on to the server."""
    redisq_requests_per_s: float = Field(default=2, gt=0)
    """Pace of polling. RedisQ refuses more than 2."""
    redisq_bodies: bool = False
    """Whether a RedisQ server's bodies are taken as ESI's; else each is fetched by id and hash."""
    esi_url: str = "https://esi.evetech.net"
    """Base of ESI; `/killmails/…` is appended."""
    esi_killmail_tokens: int = Field(default=3600, ge=0)
    """ESI's budget for killmail bodies in one window, all processes together; 0 is no limit."""
    esi_window_s: int = Field(default=900, ge=1)
    """Length of ESI's floating window."""
    esi_concurrency: int = Field(default=64, ge=1)
    """Requests to ESI in flight at once, per process."""
    contact: str = ""
    """An address where CCP and zKillboard reach you; part of the User-Agent."""
    names_deadline_ms: int = Field(default=1500, ge=0)
    """How long telling waits for names that nobody has asked for before."""
    database_url: str = ""
    """`postgresql+asyncpg://…`; without it an SQLite file in the data directory."""
    database_pool_size: int = Field(default=8, ge=1)
    """Connections to the database, per process."""
    rabbitmq_url: str = ""
    """`amqp://…`; without it actors run inside the process."""
    redis_url: str = ""
    """`redis://…`; without it events, budgets and locks stay inside the process."""
    kafka_url: str = ""
    """`kafka://host:9092`; without it a broker is started as a child, in memory."""
    kafka_replication: int = Field(default=1, ge=1)
    """Replicas of each topic that is created."""
    api_host: str = "127.0.0.1"
    """Where the gateway listens."""
    api_port: int = Field(default=4000, ge=0, le=65535)
    """Port of the gateway."""
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """Port of `/metrics` in `killstream streams` and `killstream actors`; 0 is none."""
    namespace: str = Field(default="", pattern=r"^([a-z][a-z0-9-]*)?$")
    """Goes before each topic, group, queue, channel and lock where deployments share servers."""
    data_dir: Path = Path(".killstream")
    """Where the embedded parts keep their files."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is logged."""

    def named(self, name: str) -> str:
        """Put the namespace before the name of a topic, group, queue, channel or lock."""
        return f"{self.namespace}.{name}" if self.namespace else name

    @property
    def database_dsn(self) -> str:
        """The database's URL, the SQLite file's included."""
        return self.database_url or f"sqlite+aiosqlite:///{self.data_dir / 'killstream.db'}"

    @property
    def kafka_bootstrap(self) -> str:
        """The Kafka servers as `host:port,host:port`."""
        return self.kafka_url.removeprefix("kafka://")


@cache
def settings() -> Settings:
    """Read the settings once.

    Raises:
        Misconfigured: a KILLSTREAM_* name is unknown or a value is wrong; says which.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    unknown = sorted(
        name
        for name in os.environ
        if name.upper().startswith(PREFIX) and name.upper() not in known | NOT_SETTINGS
    )
    if unknown:
        raise Misconfigured(f"unknown setting {', '.join(unknown)}; `killstream --help` lists all")
    try:
        return Settings()
    except ValidationError as error:
        reasons = "; ".join(
            f"{PREFIX}{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors()
        )
        raise Misconfigured(reasons) from None


NOT_SETTINGS = frozenset({"KILLSTREAM_SERVICES_DIR"})
"""Names with our prefix that belong to `just services`."""


def masked(url: str) -> str:
    """Hide the passwords of a URL, however it is written, for logs and health answers."""
    return _QUERY_SECRET.sub(r"\1***", _PASSWORD.sub(r"\1***@", url))


_PASSWORD = re.compile(r"(://[^:@/]*:).*@")
_QUERY_SECRET = re.compile(r"([?&]\w*(?:password|secret|token|key)\w*=)[^&]*", re.IGNORECASE)
