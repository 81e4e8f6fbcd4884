"""`killstream demo` in a terminal: however and whenever it is ended, it ends clean and soon."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.processes import KILLSTREAM, ROOT, alive, with_descendants
from tests.support.terminal import CTRL_C, Terminal, in_terminal

WITHIN_S = 5.0
MOST_OUTPUT = 20_000
BOLD_REVERSE = "\x1b[1;7m"

pytestmark = [pytest.mark.crash, pytest.mark.timeout(120)]


@pytest.fixture
def demo() -> Iterator[Terminal]:
    """A demo that brings more killmails than R2Z2's pace would allow to poll."""
    with in_terminal(KILLSTREAM, "demo", "--port=0", "--rate=20") as terminal:
        yield terminal


def is_starting(demo: Terminal) -> None:
    demo.until("redis ")


def is_delivering(demo: Terminal) -> None:
    demo.until("delivered [1-9]")


def has_a_dead_event_log(demo: Terminal) -> None:
    is_delivering(demo)
    os.kill(event_log_of(demo), signal.SIGKILL)


def has_just_been_signalled(demo: Terminal) -> None:
    is_delivering(demo)
    demo.process.terminate()


def event_log_of(demo: Terminal) -> int:
    """Find the broker among the demo's processes."""
    (pid,) = with_descendants([demo.process.pid]) - {demo.process.pid}
    return pid


def ctrl_c(demo: Terminal) -> None:
    demo.type(CTRL_C)


def ctrl_c_twice(demo: Terminal) -> None:
    demo.type(CTRL_C)
    demo.type(CTRL_C)


def sigterm_to_the_group(demo: Terminal) -> None:
    os.killpg(demo.process.pid, signal.SIGTERM)


def sigterm_to_all_processes(demo: Terminal) -> None:
    """As systemd does with a control group."""
    for pid in sorted(with_descendants([demo.process.pid]), reverse=True):
        os.kill(pid, signal.SIGTERM)


@pytest.mark.parametrize(
    ("when", "how"),
    [
        (is_starting, ctrl_c),
        (is_starting, sigterm_to_all_processes),
        (is_delivering, ctrl_c),
        (is_delivering, ctrl_c_twice),
        (is_delivering, sigterm_to_the_group),
        (is_delivering, sigterm_to_all_processes),
        (has_just_been_signalled, ctrl_c),
        (has_a_dead_event_log, ctrl_c),
    ],
)
def test_ends_soon_without_errors(
    demo: Terminal, when: Callable[[Terminal], None], how: Callable[[Terminal], None]
) -> None:
    when(demo)
    processes = with_descendants([demo.process.pid])
    how(demo)
    assert demo.until_ended() < WITHIN_S
    assert demo.process.returncode == 0, demo.output
    assert not alive(processes)
    assert "Traceback" not in demo.output
    assert len(demo.output) < MOST_OUTPUT
    assert "demo: received" in demo.output
    if when is not is_starting:
        assert f"{BOLD_REVERSE} played" in demo.output
        # Log lines go to standard error: on a terminal one may come after the verdict.
        lines = [line for line in demo.output.splitlines() if line.startswith('{"played"')]
        verdict = json.loads(lines[-1])
        assert (verdict["lost"], verdict["doubled"]) == (0, 0)


@pytest.mark.parametrize("how", [ctrl_c, sigterm_to_the_group, Terminal.terminate])
def test_ends_soon_when_started_by_just(how: Callable[[Terminal], None]) -> None:
    just = shutil.which("just")
    assert just
    with in_terminal(just, f"--justfile={ROOT / 'justfile'}", "demo", "--port=0") as demo:
        is_delivering(demo)
        processes = with_descendants([demo.process.pid])
        how(demo)
        assert demo.until_ended() < WITHIN_S
        assert "Traceback" not in demo.output
        assert "demo: received" in demo.output
        assert not alive(processes)


def test_ends_at_once_with_a_late_second_signal(demo: Terminal, tmp_path: Path) -> None:
    is_delivering(demo)
    frozen = event_log_of(demo)
    os.kill(frozen, signal.SIGSTOP)  # so that the end takes long
    demo.type(CTRL_C)
    demo.until("shutdown.started|\\^C")
    with pytest.raises(AssertionError, match="still runs"):
        demo.until_ended(timeout_s=1)
    demo.type(CTRL_C)
    assert demo.until_ended() < 1
    assert demo.process.returncode == 1
    assert "second signal, SIGINT" in demo.output
    assert not alive([frozen])
