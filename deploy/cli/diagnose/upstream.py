"""One request to an upstream, within limits and with our name on it."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from actors.shared.errors import KillstreamError
from actors.shared.settings import Settings
from actors.shared.useragent import user_agent
from deploy.cli.diagnose.finding import PATIENCE_S, Failed

SHOWN_CHARACTERS: Final = 120
BAN_ADVICE: Final = (
    "stop all processes that ask this upstream from this address, wait an hour, and ask no faster"
    " than the settings' defaults"
)


async def ask(
    settings: Settings, method: str, url: str, missing: str = "", **options: Any
) -> tuple[bytes, Mapping[str, str]]:
    """Give the body and the headers of an answer with status 200.

    Raises:
        Failed: another status; says what it means. For 404 that is `missing`.
        Misconfigured: the upstream isn't on this machine, and no contact is set.
        aiohttp.ClientError, OSError, TimeoutError: no answer came.
    """
    headers = {"User-Agent": user_agent(settings, url)} | options.pop("headers", {})
    limit = aiohttp.ClientTimeout(total=2 * PATIENCE_S, connect=PATIENCE_S)
    async with (
        aiohttp.ClientSession(timeout=limit, trust_env=True) as http,
        http.request(method, url, headers=headers, **options) as answer,
    ):
        body = await answer.read()
    if answer.status == 200:
        return body, answer.headers
    shown = " ".join(body[:SHOWN_CHARACTERS].decode("utf-8", "replace").split())
    raise Failed(f"status {answer.status}: {shown}", _status_advice(answer.status, missing))


def _status_advice(status: int, missing: str) -> str:
    match status:
        case 404 if missing:
            return missing
        case 401 | 403:
            return (
                "the upstream refuses the request: correct the contact, or the address is banned:"
                f" {BAN_ADVICE}"
            )
        case 420 | 429:
            return f"too many requests: {BAN_ADVICE}"
        case _ if status >= 500:
            return "the upstream has a fault or its daily downtime (11:00 UTC): try again later"
    return "the URL leads to something else, or the upstream has changed: look at it in a browser"


def upstream_advice(name: str, url: str, error: Exception) -> str:
    """Say what to do when no answer came."""
    if isinstance(error, KillstreamError):
        return "set it: without it only an upstream on this machine is asked"
    if isinstance(error, aiohttp.InvalidURL | ValueError):
        return f"{name} must read https://HOST"
    return (
        f"check that this host reaches {urlsplit(url).hostname} (names, firewall, a proxy), or"
        f" correct {name}"
    )
