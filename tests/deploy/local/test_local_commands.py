"""The commands, on a directory of their own; the shared servers are only asked."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local import control, process, redis
from deploy.local.paths import PROJECT
from deploy.local.ports import HOST, next_free_port
from deploy.local.server import Launch, LocalServerError, Server
from tests.deploy.local.listeners import hang_up, listening

COMMAND = [sys.executable, "-m", "deploy.local"]


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """Yield a Redis of this test's own, not started yet, on a free port."""
    monkeypatch.setenv("KILLSTREAM_SERVICES_DIR", str(tmp_path))
    server = replace(redis.SERVER, port=next_free_port(20_500 + os.getpid() % 1000))
    monkeypatch.setattr(control, "SERVERS", {"redis": server})
    yield server
    control.down()


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**os.environ, **environment},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_missing_programs_are_listed_and_nothing_is_started(tmp_path: Path) -> None:
    done = run("up", "--offset", "7000", PATH="/nonexistent", KILLSTREAM_SERVICES_DIR=str(tmp_path))
    assert done.returncode == 1
    assert "missing redis-server." in done.stderr
    assert "missing default-jre-headless maven." in done.stderr
    assert "apt-get install" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_two_runs_are_serialised(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = subprocess.Popen(
            [*COMMAND, "down"],
            env={**os.environ, "KILLSTREAM_SERVICES_DIR": str(tmp_path)},
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            text=True,
        )
        with second:
            assert second.stdout is not None
            assert "waiting" in second.stdout.readline()
            assert second.poll() is None
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert second.wait(timeout=30) == 0


def test_a_server_that_we_did_not_start_is_not_stopped(own: Server) -> None:
    with pytest.raises(LocalServerError, match="wasn't started by `up`"):
        control.stop("redis")
    with pytest.raises(LocalServerError, match="never started by `up`"):
        control.start("redis")


def test_a_server_that_ends_at_once_is_reported_with_the_end_of_its_log(
    own: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "echo out of memory >&2; exit 3"
    broken = replace(own, prepare=lambda home, port: Launch(["/bin/sh", "-c", script]))
    monkeypatch.setattr(control, "SERVERS", {"redis": broken})
    with pytest.raises(LocalServerError, match="out of memory"):
        control.up()


@pytest.mark.service
def test_up_starts_once_and_down_ends_it(own: Server, tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{own.port}/0"
    assert control.up() == {"KILLSTREAM_REDIS_URL": url}
    assert (tmp_path / "services.env").read_text() == f"KILLSTREAM_REDIS_URL={url}\n"
    first = control.inspect(own).record
    assert first is not None
    control.up()
    assert control.inspect(own).record == first
    control.down()
    assert control.inspect(own).state == "not listening"


@pytest.mark.service
def test_status_probes_the_used_ports(
    own: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Those of an existing server too, which the last `up` found on a shifted port."""
    control.up()
    monkeypatch.setenv("KILLSTREAM_SERVICES_DIR", str(tmp_path / "second"))
    monkeypatch.setattr(control, "SERVERS", {"redis": replace(own, port=own.port - 100)})
    assert control.up(100) == {own.setting: own.url.format(port=own.port)}
    found = control.inspect(control.SERVERS["redis"])
    assert (found.port, found.state) == (own.port, "available")
    monkeypatch.setenv("KILLSTREAM_SERVICES_DIR", str(tmp_path))


@pytest.mark.service
def test_an_existing_server_is_used_and_not_stopped(
    own: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    control.up()
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("KILLSTREAM_SERVICES_DIR", str(tmp_path / "second"))
        control.up()
        control.down()
        found = control.inspect(own)
        assert found.state == "available"
        assert found.record is None
        assert "existing" in control.status_line(found)
    assert "own, pid" in control.status_line(control.inspect(own))


@pytest.mark.service
def test_own_ignores_an_existing_server(
    own: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    control.up()
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("KILLSTREAM_SERVICES_DIR", str(tmp_path / "second"))
        (url,) = control.up(own=True).values()
        assert url != own.url.format(port=own.port)
        assert control.up(own=True) == {own.setting: url}
        control.down()
    assert control.inspect(own).state == "available"


@pytest.mark.service
@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_a_restart_starts_another_process_on_the_same_port(own: Server, *, kill: bool) -> None:
    control.up()
    before = control.inspect(own)
    control.restart("redis", kill=kill)
    after = control.inspect(own)
    assert after.state == "available"
    assert after.port == before.port
    assert before.record is not None
    assert not process.is_running(before.record)
    control.stop("redis", kill=kill)
    assert control.inspect(own).state == "not listening"
    control.start("redis")
    assert control.inspect(own).state == "available"


@pytest.mark.service
def test_a_port_with_a_foreign_server_is_not_used(
    own: Server, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "foreign").mkdir()
    command = redis.prepare(tmp_path / "foreign", own.port).command
    launch = Launch([*command, "--requirepass", "theirs"])
    foreign = process.spawn(launch, tmp_path / "foreign.log", own.port)
    try:
        assert process.wait_until(lambda: control.inspect(own).state == "refused", 10)
        (url,) = control.up().values()
        assert url != own.url.format(port=own.port)
        assert (
            f"{HOST}:{own.port} can't be used (Authentication required." in capsys.readouterr().out
        )
        assert control.inspect(own).state == "available"
        assert process.is_running(foreign)
    finally:
        process.kill(foreign)


@pytest.mark.service
def test_status_reports_four_available_servers() -> None:
    done = run("status")
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    titles = [server.title for server in control.SERVERS.values()]
    assert [title for title, line in zip(titles, lines, strict=True) if line.startswith(title)] == (
        titles
    )
    assert all("existing" in line or "own, pid" in line for line in lines)


def test_status_prints_one_line_a_server_and_no_logs_of_clients(tmp_path: Path) -> None:
    """The servers are asked on the ports of `services.env`, where nobody answers them."""
    with listening(hang_up) as port:
        urls = {one.setting: one.url.format(port=port) for one in control.SERVERS.values()}
        (tmp_path / "services.env").write_text(control.environment_text(urls))
        done = run("status", KILLSTREAM_SERVICES_DIR=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == len(control.SERVERS)
    assert all(f"127.0.0.1:{port}" in line and "refused: " in line for line in lines)
