"""The Faust app obeys our settings and nobody else's."""

import faust
import pytest

from actors.shared.errors import Misconfigured
from actors.shared.settings import Settings
from streams.app import make_app


@pytest.mark.parametrize("name", ["BROKER_URL", "WEB_PORT", "APP_DATADIR"])
def test_a_variable_that_faust_would_obey_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(Misconfigured, match=name):
        make_app(Settings(kafka_url="kafka://127.0.0.1:9092"))


def test_the_app_uses_every_kafka_server_that_is_named() -> None:
    app: faust.App = make_app(Settings(kafka_url="kafka://a:1,b:2"))
    assert [str(url) for url in app.conf.broker] == ["kafka://a:1", "kafka://b:2"]
