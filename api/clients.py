"""Who a client is: for budgets, and whether it is a stranger, to whom parts may be closed."""

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from starlette.requests import HTTPConnection

from actors.shared.settings import Settings, listed
from api.errors import ClientError
from api.login.limit import network_of
from api.login.viewer import Viewer, address_of

CLOSED: Final = "this gateway's operator has closed this to strangers"


def client_of(viewer: Viewer) -> str:
    """Return what counts as one client: an account, or else an address or network."""
    if viewer.session is not None:
        return f"account {viewer.session.account_id}"
    return network_of(viewer.address)


def check_introspection(settings: Settings, viewer: Viewer) -> None:
    """Check that a viewer may read the schema.

    Raises:
        ClientError: FORBIDDEN.
    """
    if viewer.session is None and is_closed("introspection", settings, viewer.address):
        raise ClientError("FORBIDDEN", f"introspection: {CLOSED}")


def is_closed_to(part: str, settings: Settings, connection: HTTPConnection) -> bool:
    """Return whether a part is closed to the client of a request, by its address."""
    return is_closed(part, settings, address_of(connection))


def is_closed(part: str, settings: Settings, address: str) -> bool:
    """Return whether a part is closed to an address."""
    return part in listed(settings.api_closed) and not is_in(address, settings.api_trusted)


def is_in(address: str, networks: str) -> bool:
    """Return whether an address is in one of the networks, which are listed with commas."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(parsed in network for network in _networks(networks))


@lru_cache(maxsize=16)
def _networks(networks: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(network) for network in listed(networks))
