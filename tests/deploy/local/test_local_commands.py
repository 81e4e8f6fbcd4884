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
from deploy.local.places import PROJECT
from deploy.local.server import Launch, Server, Trouble
from deploy.local.wire import HOST, next_free_port

COMMAND = [sys.executable, "-m", "deploy.local"]


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """Yield a Redis of this test's own, not started yet, on a free port."""
    monkeypatch.setenv("KILLSTREAM_SERVICES_DIR", str(tmp_path))
    server = replace(redis.SERVER, port=next_free_port(21000))
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


def test_what_is_missing_is_named_and_nothing_is_started(tmp_path: Path) -> None:
    done = run("up", "--offset", "7000", PATH="/nonexistent", KILLSTREAM_SERVICES_DIR=str(tmp_path))
    assert done.returncode == 1
    assert "missing redis-server." in done.stderr
    assert "missing default-jre-headless maven." in done.stderr
    assert "apt-get install" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_two_runs_do_not_meet(tmp_path: Path) -> None:
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


def test_what_others_run_is_not_stopped(own: Server) -> None:
    with pytest.raises(Trouble, match="wasn't started from here"):
        control.stop("redis")
    with pytest.raises(Trouble, match="never started from here"):
        control.start("redis")


def test_a_server_that_ends_at_once_is_told_with_its_last_words(
    own: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "echo out of memory >&2; exit 3"
    broken = replace(own, prepare=lambda home, port: Launch(["/bin/sh", "-c", script]))
    monkeypatch.setattr(control, "SERVERS", {"redis": broken})
    with pytest.raises(Trouble, match="out of memory"):
        control.up()


@pytest.mark.service
def test_up_starts_once_and_down_ends_it(own: Server, tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{own.port}/0"
    assert control.up() == {"KILLSTREAM_REDIS_URL": url}
    assert (tmp_path / "services.env").read_text() == f"KILLSTREAM_REDIS_URL={url}\n"
    first = control.look(own).record
    assert first is not None
    control.up()
    assert control.look(own).record == first
    control.down()
    assert control.look(own).state == "silent"


@pytest.mark.service
def test_what_answers_already_is_used_and_stays(
    own: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    control.up()
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("KILLSTREAM_SERVICES_DIR", str(tmp_path / "second"))
        control.up()
        control.down()
        found = control.look(own)
        assert found.state == "answers"
        assert found.record is None
        assert "existing" in control.status_line(found)
    assert "own, pid" in control.status_line(control.look(own))


@pytest.mark.service
def test_what_others_run_is_not_used_when_it_must_be_our_own(
    own: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    control.up()
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("KILLSTREAM_SERVICES_DIR", str(tmp_path / "second"))
        (url,) = control.up(own=True).values()
        assert url != own.url.format(port=own.port)
        assert control.up(own=True) == {own.setting: url}
        control.down()
    assert control.look(own).state == "answers"


@pytest.mark.service
@pytest.mark.parametrize("kill", [False, True], ids=["in order", "killed"])
def test_a_restart_brings_another_process_on_the_same_port(own: Server, *, kill: bool) -> None:
    control.up()
    before = control.look(own)
    control.restart("redis", kill=kill)
    after = control.look(own)
    assert after.state == "answers"
    assert after.port == before.port
    assert before.record is not None
    assert not process.alive(before.record)
    control.stop("redis", kill=kill)
    assert control.look(own).state == "silent"
    control.start("redis")
    assert control.look(own).state == "answers"


@pytest.mark.service
def test_a_port_that_a_stranger_holds_is_left_to_it(
    own: Server, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "stranger").mkdir()
    command = redis.prepare(tmp_path / "stranger", own.port).command
    launch = Launch([*command, "--requirepass", "theirs"])
    stranger = process.spawn(launch, tmp_path / "stranger.log", own.port)
    try:
        assert process.until(lambda: control.look(own).state == "refuses", 10)
        (url,) = control.up().values()
        assert url != own.url.format(port=own.port)
        assert f"{HOST}:{own.port} is taken (-NOAUTH" in capsys.readouterr().out
        assert control.look(own).state == "answers"
        assert process.alive(stranger)
    finally:
        process.kill(stranger)


@pytest.mark.service
def test_status_reports_four_servers_that_answer() -> None:
    done = run("status")
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    titles = [server.title for server in control.SERVERS.values()]
    assert [title for title, line in zip(titles, lines, strict=True) if line.startswith(title)] == (
        titles
    )
    assert all("existing" in line or "own, pid" in line for line in lines)
