"""What Docker is given: no engine is needed to see that it fits the project."""

import fnmatch
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path, PurePath
from typing import Any

import pytest
import yaml

from actors.shared.settings import PREFIX, Settings
from deploy.local import control, kafka

PROJECT = Path(__file__).resolve().parents[2]
DOCKERFILE = (PROJECT / "deploy" / "Dockerfile").read_text().replace("\\\n", " ")
COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT / "deploy" / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OF_CONTAINERS = {
    "RABBITMQ_MANAGEMENT_URL",
    "API_HOST",
    "API_PORT",
    "METRICS_PORT",
    "DATA_DIR",
}
OURS = ["migrate", "streams", "actors", "api"]


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)


def copied() -> list[str]:
    lines = [line for line in instructions("COPY") if not line.startswith("--from=")]
    return [source for line in lines for source in shlex.split(line)[:-1]]


@pytest.mark.parametrize("source", copied())
def test_copied_files_exist_and_are_not_ignored(source: str) -> None:
    assert (PROJECT / source).exists()
    rules = (PROJECT / ".dockerignore").read_text().splitlines()
    ignored = False
    within = [str(path) for path in (PurePath(source), *PurePath(source).parents) if path.name]
    for rule in rules:
        if any(fnmatch.fnmatch(path, rule.lstrip("!").rstrip("/")) for path in within):
            ignored = not rule.startswith("!")
    assert not ignored


def test_all_packages_are_copied() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    packages = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {package.rstrip("*") for package in packages} <= {name.rstrip("/") for name in copied()}


def test_the_entry_point_is_the_declared_command() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    (entry,) = instructions("ENTRYPOINT")
    assert set(yaml.safe_load(entry)) <= set(project["scripts"])


def test_the_image_installs_only_files_with_pinned_hashes() -> None:
    installs = re.findall(r"pip install (.*)", DOCKERFILE)
    assert len(installs) == 2
    assert all("--no-deps" in options for options in installs)
    pins, project = installs
    assert "--require-hashes --requirement requirements.txt" in pins
    assert "--no-build-isolation --editable ." in project


def test_the_image_does_not_run_as_root() -> None:
    assert instructions("USER")[-1] not in ("root", "0")


def test_all_servers_and_all_parts_are_services() -> None:
    assert set(SERVICES) == {*control.SERVERS, *OURS}


@pytest.mark.parametrize("name", OURS)
def test_each_part_runs_a_command_of_ours(name: str) -> None:
    (command,) = SERVICES[name]["command"]
    killstream = Path(sys.executable).with_name("killstream")
    done = subprocess.run([killstream, command, "--help"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("name", OURS)
def test_each_part_is_given_settings_that_exist(name: str) -> None:
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    assert set(SERVICES[name]["environment"]) <= known
    for server in control.SERVERS.values():
        url = SERVICES[name]["environment"][server.setting]
        assert url.split("://")[0] == server.url.split("://")[0]
        assert re.search(rf"[@/]{server.name}:\d+", url)


@pytest.mark.parametrize("name", OURS)
def test_each_part_is_given_the_settings_of_the_host(name: str) -> None:
    """Each setting of the code but those that the containers decide, and nothing but its value."""
    servers = {server.setting for server in control.SERVERS.values()}
    own = {PREFIX + one for one in OF_CONTAINERS}
    passed = {PREFIX + field.upper() for field in Settings.model_fields} - servers - own
    given = SERVICES[name]["environment"]
    assert {one: given.get(one) for one in passed} == {one: f"${{{one}:-}}" for one in passed}


@pytest.mark.parametrize("name", ["streams", "actors", "api"])
def test_parts_start_when_servers_are_healthy_and_the_database_is_migrated(name: str) -> None:
    conditions = {
        other: wanted["condition"] for other, wanted in SERVICES[name]["depends_on"].items()
    }
    assert conditions == {
        "migrate": "service_completed_successfully",
        **dict.fromkeys(control.SERVERS, "service_healthy"),
    }


@pytest.mark.parametrize("name", sorted(control.SERVERS))
def test_servers_have_health_checks_and_listen_on_this_host_only(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    port = control.SERVERS[name].port
    assert service["ports"] == [f"127.0.0.1:{port}:{port}"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_each_service_is_restarted(name: str) -> None:
    restart = "on-failure:3" if name == "migrate" else "unless-stopped"
    assert SERVICES[name]["restart"] == restart


def test_each_service_gets_time_to_stop() -> None:
    """A process of ours ends by itself within 25 s of SIGTERM."""
    periods = {name: service.get("stop_grace_period") for name, service in SERVICES.items()}
    assert {name: periods[name] for name in OURS} == dict.fromkeys(OURS, "30s")
    assert all(periods.values())
    advice = (PROJECT / "deploy" / "README.md").read_text()
    assert "`TimeoutStopSec=30`" in advice
    assert "`terminationGracePeriodSeconds: 30`" in advice


def test_each_volume_that_is_used_is_declared() -> None:
    used = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
    }
    assert used == set(COMPOSE["volumes"])


def test_kafka_takes_as_little_cpu_as_the_one_that_just_starts() -> None:
    options = SERVICES["kafka"]["environment"]["KAFKA_JVM_PERFORMANCE_OPTS"]
    assert options.split() == kafka.JVM_OPTIONS
    command = kafka._command(Path("/x"))
    assert set(kafka.JVM_OPTIONS) <= set(command)
