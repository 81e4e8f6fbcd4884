"""Send one request to an upstream, with a time limit and Killstream's User-Agent."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from actors.shared.errors import KillstreamError
from actors.shared.settings import Settings
from actors.shared.useragent import user_agent
from deploy.cli.diagnose.finding import ANSWER_S, Failed

SHOWN_CHARACTERS: Final = 120
BAN_ADVICE: Final = (
    "stop all processes that send requests to this upstream from this address, wait an hour, and"
    " use no higher rate than the settings' defaults"
)


async def request(
    settings: Settings, method: str, url: str, missing: str = "", **options: Any
) -> tuple[bytes, Mapping[str, str]]:
    """Send a request; return body and headers of the response with status 200.

    Args:
        settings: For the User-Agent, which has the contact.
        method: The HTTP method.
        url: The URL.
        missing: Advice for status 404.
        options: Passed to aiohttp.

    Raises:
        Failed: the status isn't 200; has advice.
        Misconfigured: the upstream isn't on this machine, and no contact is set.
        aiohttp.ClientError, OSError, TimeoutError: there was no response.
    """
    headers = {"User-Agent": user_agent(settings, url)} | options.pop("headers", {})
    limit = aiohttp.ClientTimeout(total=2 * ANSWER_S, connect=ANSWER_S)
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
            return "the upstream fails or has its daily downtime (11:00 UTC): try again later"
    return "the URL is another server's, or the upstream has changed: open it in a browser"


def upstream_advice(name: str, url: str, error: Exception) -> str:
    """Return advice for a request without a response."""
    if isinstance(error, KillstreamError):
        return "set it: without it requests are sent only to upstreams on this machine"
    if isinstance(error, aiohttp.InvalidURL | ValueError):
        return f"{name} must read https://HOST"
    return (
        f"check that this host can connect to {urlsplit(url).hostname} (DNS, firewall, proxy), or"
        f" correct {name}"
    )
