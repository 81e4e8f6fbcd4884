"""Processes that outlive the command that started them."""

import dataclasses
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import process
from deploy.local.server import Launch, ProcessRecord


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[ProcessRecord]:
    record = process.spawn(Launch(["/bin/sleep", "60"]), tmp_path / "log", 1)
    yield record
    process.kill(record)


def test_a_process_is_not_a_child_of_the_command(sleeper: ProcessRecord) -> None:
    assert process.is_running(sleeper)
    assert os.getsid(sleeper.pid) != os.getsid(0)
    with pytest.raises(ChildProcessError):
        os.waitpid(sleeper.pid, os.WNOHANG)


def test_a_process_ends_on_a_signal(sleeper: ProcessRecord) -> None:
    assert process.terminate(sleeper, signal.SIGTERM, 10)
    assert not process.is_running(sleeper)
    assert process.terminate(sleeper, signal.SIGTERM, 10)


def test_a_later_process_with_the_same_id_is_not_ours(sleeper: ProcessRecord) -> None:
    earlier = dataclasses.replace(sleeper, started_ticks=sleeper.started_ticks - 1)
    assert not process.is_running(earlier)
    process.kill(earlier)
    assert process.terminate(earlier, signal.SIGTERM, 10)
    assert process.is_running(sleeper)


def test_a_kill_ends_the_children_too(tmp_path: Path) -> None:
    children = tmp_path / "children"
    script = f"sleep 60 & echo $! > {children}.new; mv {children}.new {children}; wait"
    record = process.spawn(Launch(["/bin/sh", "-c", script]), tmp_path / "log", 1)
    assert process.wait_until(children.exists, 10)
    process.kill(record)
    assert not process.is_running(record)
    with pytest.raises(ProcessLookupError):
        os.kill(int(children.read_text()), 0)


def test_outputs_go_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = 'echo "$WORD"; echo problem >&2'
    record = process.spawn(Launch(["/bin/sh", "-c", script], {"WORD": "first"}), log, 1)
    assert process.wait_until(lambda: not process.is_running(record), 10)
    assert process.last_lines(log) == "  first\n  problem"
    assert process.last_lines(log, 1) == "  problem"


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = ProcessRecord(pid=1, started_ticks=2, port=3)
    assert process.read_record(tmp_path / "x.json") is None
    process.write_record(tmp_path / "x.json", record)
    assert process.read_record(tmp_path / "x.json") == record
