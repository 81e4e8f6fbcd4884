import pytest

from actors.shared.errors import Misconfigured
from actors.shared.settings import Settings
from deploy.contact import check_contact

HERE = "http://127.0.0.1:9"


def test_only_upstreams_that_a_process_calls_require_a_contact() -> None:
    real_source = Settings(esi_url=HERE)
    check_contact(real_source, source=False)
    with pytest.raises(Misconfigured, match="r2z2"):
        check_contact(real_source)
    real_esi = Settings(r2z2_url=HERE)
    check_contact(real_esi, esi=False)
    with pytest.raises(Misconfigured, match="esi"):
        check_contact(real_esi)


def test_without_a_source_only_esi_is_called() -> None:
    check_contact(Settings(source="none", esi_url=HERE))


def test_with_a_contact_all_upstreams_may_be_called() -> None:
    check_contact(Settings(contact="you@example.org"))
