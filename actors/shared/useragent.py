"""The User-Agent for the upstreams, which require a name and a contact."""

from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address
from urllib.parse import urlsplit

from actors.shared.errors import Misconfigured
from actors.shared.settings import Settings


def user_agent(settings: Settings, url: str) -> str:
    """Make the User-Agent for requests to `url`.

    Requests to this machine need no contact.

    Raises:
        Misconfigured: the contact is missing or isn't valid in a header.

    Source: ESI's best practices; zKillboard's R2Z2 page (read 2026-11-21).
    """
    contact = settings.contact.strip()
    if not contact and not is_loopback(url):
        raise Misconfigured(
            f"set KILLSTREAM_CONTACT to an address where {urlsplit(url).hostname} reaches you"
            " (e-mail, or a page): it is part of each request"
        )
    if not contact.isascii() or not contact.isprintable():
        raise Misconfigured("KILLSTREAM_CONTACT must be one line of ASCII")
    return f"killstream/{_version()} ({contact or 'on this machine'})"


def is_loopback(url: str) -> bool:
    """Tell whether the host of a URL is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _version() -> str:
    try:
        return version("killstream")
    except PackageNotFoundError:  # run from a folder without an installation
        return "0"
