"""What is written for the servers, and what is passed to them."""

import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from deploy.local import control, install, kafka, paths, postgres, rabbitmq, redis
from deploy.local.server import Inspection, LocalServerError, Server


def test_kafka_runs_as_one_node_on_the_ports_it_is_given() -> None:
    lines = dict(
        line.split("=", 1) for line in kafka.properties(Path("/x/logs"), 19092, 19093).splitlines()
    )
    assert lines["listeners"] == "PLAINTEXT://127.0.0.1:19092,CONTROLLER://127.0.0.1:19093"
    assert lines["advertised.listeners"] == "PLAINTEXT://127.0.0.1:19092"
    assert lines["controller.quorum.voters"] == "1@127.0.0.1:19093"
    assert lines["log.dirs"] == "/x/logs"
    assert lines["auto.create.topics.enable"] == "false"
    assert {value for name, value in lines.items() if name.endswith("replication.factor")} == {"1"}


def test_pom_lists_the_jars_by_group_name_and_version() -> None:
    space = {"m": "http://maven.apache.org/POM/4.0.0"}
    asked = {
        f"{one.findtext('m:groupId', '', space)}:{one.findtext('m:artifactId', '', space)}": (
            one.findtext("m:version", "", space)
        )
        for one in ElementTree.fromstring(kafka.pom()).iterfind(
            "m:dependencies/m:dependency", space
        )
    }
    assert asked == kafka.JARS


def test_rabbitmq_listens_on_this_host_only_and_makes_our_user_and_host() -> None:
    lines = rabbitmq.configuration(15672).splitlines()
    assert "listeners.tcp.default = 127.0.0.1:15672" in lines
    assert "default_user = killstream" in lines
    assert "default_vhost = killstream" in lines
    assert "management.tcp.ip = 127.0.0.1" in lines
    assert "management.tcp.port = 15675" in lines
    assert rabbitmq.more_settings(15672) == {
        "KILLSTREAM_RABBITMQ_MANAGEMENT_URL": "http://127.0.0.1:15675"
    }


def test_postgresql_runs_with_the_settings_for_durability() -> None:
    assert postgres.SETTINGS["fsync"] == "on"
    assert postgres.SETTINGS["synchronous_commit"] == "on"
    assert "full_page_writes" not in postgres.SETTINGS
    assert postgres.SETTINGS["listen_addresses"] == "127.0.0.1"


def test_the_environment_names_each_server_by_its_setting() -> None:
    urls = {one.setting: one.url.format(port=one.port) for one in control.SERVERS.values()}
    assert control.environment_text(urls).splitlines() == [
        "KILLSTREAM_DATABASE_URL=postgresql+asyncpg://killstream:killstream@127.0.0.1:5432/killstream",
        "KILLSTREAM_REDIS_URL=redis://127.0.0.1:6379/0",
        "KILLSTREAM_RABBITMQ_URL=amqp://killstream:killstream@127.0.0.1:5672/killstream",
        "KILLSTREAM_KAFKA_URL=kafka://127.0.0.1:9092",
    ]


def test_the_directory_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KILLSTREAM_SERVICES_DIR", str(tmp_path))
    assert paths.services_dir() == tmp_path
    monkeypatch.delenv("KILLSTREAM_SERVICES_DIR")
    assert paths.services_dir() == paths.PROJECT / ".killstream" / "services"


def test_data_is_in_a_directory_that_its_user_can_enter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    is_root = os.geteuid() == 0
    shared = tmp_path / "shared"
    monkeypatch.setattr(paths, "_SHARED_ROOT", shared)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    home = paths.accessible_home(closed / "postgres", "daemon" if is_root else None)
    assert home.is_dir()
    assert home.is_relative_to(shared if is_root else closed)
    again = paths.accessible_home(closed / "postgres", "daemon" if is_root else None)
    assert again == home


def test_packages_start_no_servers_while_they_are_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(install, "_POLICY", policy)
    with install._no_daemons():
        assert "exit 101" in policy.read_text()
        assert os.access(policy, os.X_OK)
    assert not policy.exists()
    with pytest.raises(LocalServerError), install._no_daemons():
        install.program("no-such-program")
    assert not policy.exists()


def test_an_existing_policy_is_not_changed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("theirs")
    monkeypatch.setattr(install, "_POLICY", policy)
    with install._no_daemons():
        assert policy.read_text() == "theirs"
    assert policy.read_text() == "theirs"


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(LocalServerError, match="redis-server"):
        install.program("redis-server")
    with pytest.raises(LocalServerError, match=r"Redis .* missing redis-server"):
        install.install_missing([not_listening(redis.SERVER, 6379)])


def not_listening(server: Server, port: int) -> Inspection:
    return Inspection(server, port, "not listening", f"nothing listens on 127.0.0.1:{port}")


def test_advice_names_the_ports_that_were_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server on a shifted port, one whose port is taken, and one on its standard port."""
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(install, "_DEBIAN_FOLDERS", ())
    with pytest.raises(LocalServerError) as raised:
        install.install_missing(
            [
                not_listening(postgres.SERVER, 15432),
                Inspection(redis.SERVER, 16379, "refused", "Authentication required."),
                not_listening(rabbitmq.SERVER, 5672),
            ]
        )
    shifted, taken, standard = str(raised.value).splitlines()
    assert "@127.0.0.1:15432/killstream" in shifted
    assert "5432/" not in shifted.replace("15432/", "")
    assert "docker" not in shifted
    assert "port 16379: Authentication required." in taken
    assert "configure the server on that port for redis://127.0.0.1:16379/0, or stop it" in taken
    assert "docker" not in taken
    assert "docker compose -f deploy/compose.yaml up rabbitmq" in standard
    assert "@127.0.0.1:5672/killstream" in standard
