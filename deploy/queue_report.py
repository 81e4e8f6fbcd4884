"""Read the state of the queues: from the servers, or from the gateway of `killstream up`."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp

from actors.shared.health.queues import QueueReport, QueueState, inspect_queues
from actors.shared.heartbeat import Heartbeat
from actors.shared.outage import one_line
from actors.shared.settings import Settings
from deploy.ports import gateway_url

QUERY: Final = """{ workerStatus {
  name kind isRunning pausedAgeS ready unacked delayed consumerCount rate oldestAgeS
  killmailsProcessed uptime
} }"""


async def read_queues(settings: Settings, *, limit_s: float) -> QueueReport:
    """Read the state of all queues within the limit. Changes and raises nothing."""
    if settings.rabbitmq_url:
        return await inspect_queues(settings, limit_s=limit_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=limit_s)) as http,
            http.post(gateway_url(settings, "http"), json={"query": QUERY}) as answer,
        ):
            return _report((await answer.json())["data"]["workerStatus"])
    except (aiohttp.ClientError, OSError, KeyError, TypeError, ValueError) as error:
        reason = f"{one_line(error)} (without KILLSTREAM_RABBITMQ_URL the queues are in the process"
        return QueueReport([], [], None, {"the gateway": f"{reason} of `killstream up`)"})


def _report(entries: list[dict[str, Any]]) -> QueueReport:
    queues = [queue for entry in entries if entry["kind"] == "queue" for queue in _queues(entry)]
    poller = next(entry for entry in entries if entry["kind"] == "poller")
    processes = []
    if entries[0]["uptime"] is not None:
        processes.append(Heartbeat("actors", "", _ago(entries[0]["uptime"])))
    if poller["uptime"] is not None:
        at = _ago(poller["uptime"])
        processes.append(Heartbeat("streams", "", at, is_polling=poller["isRunning"]))
    return QueueReport(queues, processes, poller["pausedAgeS"])


def _ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def _queues(entry: dict[str, Any]) -> list[QueueState]:
    return [
        QueueState(
            name=entry["name"],
            ready=entry["ready"],
            unacked=entry["unacked"],
            consumers=entry["consumerCount"],
            in_per_s=None,
            out_per_s=entry["rate"],
            oldest_age_s=entry["oldestAgeS"],
            killmails=entry["killmailsProcessed"],
            uptime_s=entry["uptime"],
            paused_age_s=entry["pausedAgeS"],
        ),
        QueueState(
            f"{entry['name']}.DQ", entry["delayed"], None, None, None, None, None, 0, None, None
        ),
    ]
