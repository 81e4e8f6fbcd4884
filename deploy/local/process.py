"""Detached processes, which a later command finds and ends by their id (Linux)."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from deploy.local.server import Launch, ProcessRecord

_LAUNCHER = '"$@" </dev/null >&2 & echo $!'
"""Starts the server as a child of a shell that exits at once, so that it is detached from us."""


def spawn(launch: Launch, log: Path, port: int) -> ProcessRecord:
    """Start a process in a new session; its outputs are appended to `log`."""
    with log.open("ab") as output:
        done = subprocess.run(
            ["/bin/sh", "-c", _LAUNCHER, "sh", *launch.command],
            env={**os.environ, **launch.environment},
            stdout=subprocess.PIPE,
            stderr=output,
            check=True,
            cwd="/",
            start_new_session=True,
            user=launch.user,
            group=launch.user,
            extra_groups=None if launch.user is None else [],
        )
    pid = int(done.stdout)
    return ProcessRecord(pid, _started_ticks(pid), port)


def is_running(record: ProcessRecord) -> bool:
    """Return whether this process, and not a later one with the same id, is running."""
    return record.started_ticks != 0 and _started_ticks(record.pid) == record.started_ticks


def terminate(record: ProcessRecord, number: signal.Signals, within_s: float) -> bool:
    """Send a signal and wait; return False when the process still runs after `within_s`."""
    if is_running(record):
        os.kill(record.pid, number)
    return wait_until(lambda: not is_running(record), within_s)


def kill(record: ProcessRecord) -> None:
    """Send SIGKILL to a process and its descendants, and wait until they have ended."""
    if not is_running(record):
        return
    tree = [record, *_descendants(record.pid)]
    for member in tree:
        if is_running(member):
            os.kill(member.pid, signal.SIGKILL)
    # PostgreSQL doesn't start while an old server's id exists, be it as a zombie.
    wait_until(lambda: not any(_stat(member.pid) for member in tree), 10)


def wait_until(condition: Callable[[], bool], within_s: float) -> bool:
    """Check a condition every 50 ms; return False when it isn't true within `within_s`."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def write_record(path: Path, record: ProcessRecord) -> None:
    """Write a record as JSON."""
    path.write_text(json.dumps(asdict(record)))


def read_record(path: Path) -> ProcessRecord | None:
    """Read a record; None when no server was started."""
    return ProcessRecord(**json.loads(path.read_text())) if path.exists() else None


def last_lines(log: Path, count: int = 15) -> str:
    """Return the end of a log, indented."""
    if not log.exists():
        return "  (no log)"
    lines = log.read_text(errors="replace").splitlines()[-count:]
    return "\n".join(f"  {line}" for line in lines) or "  (the log is empty)"


def _descendants(pid: int) -> list[ProcessRecord]:
    parents = {int(path.name): _stat(int(path.name)) for path in Path("/proc").glob("[0-9]*")}
    found, parents_left = [], [pid]
    while parents_left:
        parent = parents_left.pop()
        for child, fields in parents.items():
            if fields and int(fields[1]) == parent:
                found.append(ProcessRecord(child, _started_ticks(child), 0))
                parents_left.append(child)
    return found


def _started_ticks(pid: int) -> int:
    """Return the start time in clock ticks since boot; 0 for a process that doesn't run."""
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] not in "ZX" else 0


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name, which may contain any character."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
