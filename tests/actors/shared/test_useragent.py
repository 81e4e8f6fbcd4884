"""Nobody real is called without saying who we are."""

import pytest

from actors.shared.errors import Misconfigured
from actors.shared.settings import Settings
from actors.shared.useragent import user_agent

ESI = "https://esi.evetech.net"


def test_names_the_product_and_whom_to_reach() -> None:
    agent = user_agent(Settings(contact="ops@example.org"), ESI)
    assert agent.startswith("killstream/")
    assert agent.endswith("(ops@example.org)")


@pytest.mark.parametrize("contact", ["", "  "])
def test_a_real_upstream_needs_a_contact(contact: str) -> None:
    with pytest.raises(Misconfigured, match="KILLSTREAM_CONTACT"):
        user_agent(Settings(contact=contact), ESI)


@pytest.mark.parametrize("contact", ["a@example.org\r\nX: y", "jörg@example.org"])
def test_a_contact_fits_into_a_header(contact: str) -> None:
    with pytest.raises(Misconfigured, match="KILLSTREAM_CONTACT"):
        user_agent(Settings(contact=contact), ESI)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "127.8.0.1", "localhost", "[::1]:80"])
def test_this_machine_needs_none(host: str) -> None:
    assert user_agent(Settings(), f"http://{host}/base")


@pytest.mark.parametrize("host", ["10.0.0.1", "0.0.0.0", "localhost.example.org"])
def test_other_machines_are_real_upstreams(host: str) -> None:
    with pytest.raises(Misconfigured):
        user_agent(Settings(), f"http://{host}")
