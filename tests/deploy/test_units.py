"""The systemd units: valid, hardened, and equal to what the code and the other files say."""

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

from actors.shared.settings import PREFIX, Settings
from deploy.cli.shutdown import LIMIT_S
from deploy.local.install import find, install_packages, program
from tests.deploy.test_images import COMPOSE, OURS
from tests.support.processes import KILLSTREAM
from tests.support.prometheus import FOLDER as PROMETHEUS

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / "deploy" / "systemd"
COMMON = "killstream-.service.d/common.conf"
INSTALLED = "/opt/killstream/.venv/bin/killstream"
MOST_EXPOSED = 2.0
"""By `systemd-analyze security`, of 10; 2.0 is its limit between "OK" and "medium"."""

Section = dict[str, list[str]]


def read(name: str) -> dict[str, Section]:
    """Read a unit file; a key may occur several times."""
    found: dict[str, Section] = defaultdict(lambda: defaultdict(list))
    section = ""
    for line in (FOLDER / name).read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found[section][key].append(value)
    return found


def service(part: str) -> Section:
    return read(f"killstream-{part}.service")["Service"]


def environment(section: Section) -> dict[str, str]:
    return dict(one.split("=", 1) for one in section.get("Environment", []))


@pytest.fixture
def units(tmp_path: Path) -> list[str]:
    """The files with the command that is installed here; systemd checks that it exists."""
    if find("systemd-analyze") is None:
        install_packages(["systemd"])
    shutil.copytree(FOLDER, tmp_path / "units")
    paths = [path for path in (tmp_path / "units").iterdir() if path.is_file()]
    for path in paths:
        path.write_text(path.read_text().replace(INSTALLED, KILLSTREAM))
    return [str(path) for path in sorted(paths)]


def analyze(*arguments: str) -> str:
    done = subprocess.run(
        [program("systemd-analyze"), "--no-pager", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_systemd_accepts_the_units(units: list[str]) -> None:
    said = analyze("verify", *units)
    assert [line for line in said.splitlines() if "killstream" in line] == []


def test_the_units_are_hardened(units: list[str]) -> None:
    services = [unit for unit in units if unit.endswith(".service")]
    said = analyze("security", "--offline=yes", f"--threshold={MOST_EXPOSED * 10:.0f}", *services)
    assert said.count("Overall exposure level") == len(services)


def test_each_part_runs_its_command() -> None:
    commands = {part: service(part)["ExecStart"] for part in OURS}
    assert commands == {
        part: [f"{INSTALLED} {COMPOSE['services'][part]['command'][0]}"] for part in OURS
    }
    assert {path.name for path in FOLDER.glob("*.service")} == {
        f"killstream-{part}.service" for part in OURS
    }


def test_settings_and_ports_are_those_of_the_code() -> None:
    sections = [read(COMMON)["Service"], *(service(part) for part in OURS)]
    names = {name for section in sections for name in environment(section)}
    assert names <= {PREFIX + name.upper() for name in Settings.model_fields}
    scraped = {
        job["job_name"]: job["static_configs"][0]["targets"][0].rpartition(":")[2]
        for job in yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    }
    assert environment(service("api"))[f"{PREFIX}API_PORT"] == scraped["api"]
    for part in ("streams", "actors"):
        assert environment(service(part))[f"{PREFIX}METRICS_PORT"] == scraped[part]


def test_stop_times_are_those_of_the_code() -> None:
    common = read(COMMON)["Service"]
    (stop_s,) = common["TimeoutStopSec"]
    assert int(stop_s) > LIMIT_S
    assert f"{stop_s}s" == COMPOSE["services"]["api"]["stop_grace_period"]
    assert common["RestartPreventExitStatus"] == ["2"]
    assert common["Restart"] == ["on-failure"]


def test_only_a_migration_may_take_any_time() -> None:
    """A drop-in takes precedence over the unit, so the common one sets no limit."""
    assert "TimeoutStartSec" not in read(COMMON)["Service"]
    limits = {part: service(part)["TimeoutStartSec"] for part in OURS}
    assert limits == {part: ["infinity" if part == "migrate" else "180"] for part in OURS}


def test_the_parts_start_after_the_migration_and_with_the_target() -> None:
    wanted = read("killstream.target")["Unit"]["Wants"][0].split()
    parts = [part for part in OURS if part != "migrate"]
    assert sorted(wanted) == sorted(f"killstream-{part}.service" for part in parts)
    for part in parts:
        unit = read(f"killstream-{part}.service")["Unit"]
        assert "Requires" not in unit, "a failed try of the migration would end the start for good"
        assert "killstream-migrate.service" in " ".join(unit["Wants"]).split()
        assert "killstream-migrate.service" in " ".join(unit["After"])
        assert service(part)["Type"] == ["notify"]


def test_the_document_runs_commands_as_the_units_do() -> None:
    text = (PROJECT / "deploy" / "README.md").read_text()
    (run,) = re.findall(r"^systemd-run (.*\\\n.*)$", text, re.MULTILINE)
    common = read(COMMON)["Service"]
    options = run.replace("\\\n", " ").split()
    assert options[-2:] == [INSTALLED, "status"]
    assert f"--property=EnvironmentFile={common['EnvironmentFile'][0]}" in options
    assert f"--uid={common['User'][0]}" in options
    assert f"--working-directory={common['WorkingDirectory'][0]}" in options
    assert f"install -D -m 600 killstream.env {common['EnvironmentFile'][0]}" in text
    (file,) = re.findall(r"```sh\n(KILLSTREAM_DATABASE_URL=[^`]*)```", text)
    given = dict(line.split("=", 1) for line in file.splitlines())
    assert Settings(**{name.removeprefix(PREFIX).lower(): value for name, value in given.items()})
