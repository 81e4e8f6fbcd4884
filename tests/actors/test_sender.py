"""The thread that sends: what fails while it is idle doesn't end it."""

import threading

import pytest

from actors import sender as module
from actors.sender import Sender


def test_a_failure_while_idle_does_not_end_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.01)
    failed = threading.Event()

    def fails() -> None:
        if not failed.is_set():  # once: the thread outlives this test
            failed.set()
            raise AssertionError("pika's, in the midst of a close")

    sender = Sender(fails)
    assert sender.submit(lambda: 1).result(5) == 1
    assert failed.wait(5)
    assert sender.submit(lambda: 2).result(5) == 2


def test_a_failure_of_a_message_is_its_callers() -> None:
    sender = Sender(lambda: None)

    def refuses() -> None:
        raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        sender.submit(refuses).result(5)
    assert sender.submit(lambda: 2).result(5) == 2
