"""Children are shielded from what a terminal or a supervisor sends to all of a group."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from deploy.children import Child
from tests.support.processes import alive


@pytest.fixture
async def child() -> AsyncIterator[Child]:
    """A child that any signal would end, unless it is blocked."""
    started = Child(["sleep", "60"], when_orphaned=signal.SIGKILL)
    yield started
    started.send_signal(signal.SIGKILL)
    await started.wait()


async def test_signals_of_a_terminal_do_not_reach_a_child(child: Child) -> None:
    assert os.getsid(child.pid) == child.pid != os.getsid(0)
    assert os.getpgid(child.pid) != os.getpgid(0)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_to_all_processes_does_not_end_a_child(
    child: Child, signum: signal.Signals
) -> None:
    child.send_signal(signum)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(child.wait(), 0.5)
    assert alive([child.pid])
