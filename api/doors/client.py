"""Who asks."""

from starlette.requests import HTTPConnection

from api.login.limit import network_of
from api.login.viewer import address_of


def client_of(connection: HTTPConnection) -> str:
    """Return what counts as one client for the limits of the doors."""
    return network_of(address_of(connection))
