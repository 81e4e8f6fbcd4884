"""Read RabbitMQ's management API, which knows rates and what is in delivery.

Source: RabbitMQ's HTTP API, `GET /api/queues/VHOST` (read 2026-11-26). Its statistics are up to 5 s
old.
"""

import time
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import aiohttp
import msgspec
import pika

from actors.shared.health.facts import Unreachable
from actors.shared.health.probe import within
from actors.shared.settings import Settings

COLUMNS: Final = (
    "name,messages_ready,messages_unacknowledged,consumers,head_message_timestamp,"
    "message_stats.publish_details.rate,message_stats.ack_details.rate"
)


class ManagedQueue(msgspec.Struct, frozen=True):
    """A queue in the management API."""

    ready: int
    unacked: int
    consumers: int
    in_per_s: float
    out_per_s: float
    oldest_age_s: float | None
    """Of the message at the head, by the timestamp that its sender set."""


async def read_management(
    settings: Settings, *, limit_s: float
) -> dict[str, ManagedQueue] | Unreachable:
    """Return the queues of our virtual host by name; none where the API isn't configured."""
    if not (settings.rabbitmq_management_url and settings.rabbitmq_url):
        return {}
    return await within(limit_s, _ask(settings, limit_s))


async def _ask(settings: Settings, limit_s: float) -> dict[str, ManagedQueue]:
    amqp = pika.URLParameters(settings.rabbitmq_url)
    parts = urlsplit(settings.rabbitmq_management_url)
    login = aiohttp.encode_basic_auth(
        unquote(parts.username or "") or amqp.credentials.username,
        unquote(parts.password or "") or amqp.credentials.password,
    )
    base = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
    timeout = aiohttp.ClientTimeout(total=limit_s)
    async with (
        aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as http,
        http.get(
            f"{base}/api/queues/{quote(amqp.virtual_host, safe='')}",
            params={"columns": COLUMNS},
            headers={"Authorization": login},
        ) as answer,
    ):
        return {row["name"]: _queue(row) for row in await answer.json()}


def _queue(row: dict[str, Any]) -> ManagedQueue:
    stats = row.get("message_stats", {})
    head_s = row.get("head_message_timestamp")
    return ManagedQueue(
        ready=row.get("messages_ready", 0),
        unacked=row.get("messages_unacknowledged", 0),
        consumers=row.get("consumers", 0),
        in_per_s=_rate(stats, "publish_details"),
        out_per_s=_rate(stats, "ack_details"),
        oldest_age_s=max(0.0, time.time() - head_s) if isinstance(head_s, int) else None,
    )


def _rate(stats: dict[str, Any], name: str) -> float:
    return float(stats.get(name, {}).get("rate", 0.0))
