"""Killstream's processes, started as an operator does, and their CPU time."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from pydantic import SecretStr

from actors.shared.settings import PREFIX, Settings
from tests.support.waiting import within

ROOT = Path(__file__).parents[2]
KILLSTREAM = str(Path(sys.executable).parent / "killstream")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Killstream:
    """One `killstream` process, its log in a file."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self.log = log
        self.pid = process.pid

    async def stop(self) -> int:
        """Stop it with SIGTERM; return its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()

    async def ended(self, timeout_s: float = 60) -> int:
        """Wait until it ends by itself; return its exit code."""
        async with within(timeout_s, lambda: f"still runs:\n{self.log.read_text()}"):
            return await self.process.wait()

    async def kill(self) -> None:
        """Kill it and its children with SIGKILL."""
        if self.process.returncode is None:
            os.killpg(self.pid, signal.SIGKILL)
        await self.process.wait()

    async def kill_parent(self, timeout_s: float) -> set[int]:
        """Kill it alone; return (and kill) the children that survive it by `timeout_s`."""
        children = with_descendants([self.pid]) - {self.pid}
        os.kill(self.pid, signal.SIGKILL)
        await self.process.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while alive(children):
                    await asyncio.sleep(0.1)
        left = alive(children)
        _signal(left, signal.SIGKILL)
        return left

    async def wait_for_output(self, pattern: str, timeout_s: float = 60) -> re.Match[str]:
        """Wait until the output matches; fail with the output if the process ends before."""
        async with within(timeout_s, lambda: f"no {pattern!r} in:\n{self.log.read_text()}"):
            while True:
                if match := re.search(pattern, self.log.read_text()):
                    return match
                if self.process.returncode is not None:
                    raise AssertionError(f"ended before {pattern!r}:\n{self.log.read_text()}")
                await asyncio.sleep(0.05)


@asynccontextmanager
async def killstream(*command: str, settings: Settings, log: Path) -> AsyncIterator[Killstream]:
    """Start `killstream COMMAND` with these settings; stop it at the end of the block."""
    started = await start_killstream(*command, settings=settings, log=log)
    try:
        yield started
    finally:
        try:
            async with asyncio.timeout(30):
                await started.stop()
        finally:
            await started.kill()


async def start_killstream(*command: str, settings: Settings, log: Path) -> Killstream:
    """Start `killstream COMMAND` with these settings in a new process group."""
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            KILLSTREAM,
            *command,
            cwd=ROOT,
            env=environment(settings),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return Killstream(process, log)


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment of a process with these settings."""
    ours = {
        PREFIX + name.upper(): str(
            value.get_secret_value() if isinstance(value, SecretStr) else value
        )
        for name, value in settings.model_dump(exclude_defaults=True).items()
    }
    return {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)} | ours


def cpu_s(pids: Iterable[int]) -> float:
    """Sum the CPU seconds of processes and all their descendants."""
    return sum(_cpu_s(pid) for pid in with_descendants(pids))


@contextmanager
def frozen(pids: Iterable[int]) -> Iterator[None]:
    """Freeze processes and all their descendants (SIGSTOP) until the block ends."""
    stopped = with_descendants(pids)
    try:
        _signal(stopped, signal.SIGSTOP)
        yield
    finally:
        _signal(stopped, signal.SIGCONT)


def with_descendants(pids: Iterable[int]) -> set[int]:
    """Return these processes and all their descendants."""
    tree = _children()
    wanted, seen = list(pids), set()
    while wanted:
        pid = wanted.pop()
        if pid not in seen:
            seen.add(pid)
            wanted += tree.get(pid, [])
    return seen


def alive(pids: Iterable[int]) -> set[int]:
    """Return the processes that are running."""
    return {pid for pid in pids if _state(pid) not in ("", "Z", "X")}


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def server_pids() -> dict[str, list[int]]:
    """Find the processes of the tests' own servers."""
    folder = Path(os.environ.get("KILLSTREAM_SERVICES_DIR", ROOT / ".killstream/test-servers"))
    return {file.stem: [json.loads(file.read_text())["pid"]] for file in folder.glob("*.json")}


def children(pid: int) -> list[int]:
    """List the processes that a process has started and that are still there."""
    return _children().get(pid, [])


def _children() -> dict[int, list[int]]:
    tree: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it just ended
        tree.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    return tree


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS_PER_S
