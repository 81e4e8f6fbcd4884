"""Call blocking functions in threads that never keep a process from its exit."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def start_in_daemon(call: Callable[[], T], name: str) -> "Future[T]":
    """Call in a daemon thread of its own; the future receives the result or exception."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # it can't be cancelled: the call has begun

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # passed to the caller
            future.set_exception(error)

    Thread(target=copy_context().run, args=[run], name=name, daemon=True).start()
    return future


async def in_daemon(call: Callable[[], T], name: str) -> T:
    """Call as `asyncio.to_thread` does; the exit of the process doesn't wait for the call."""
    return await asyncio.wrap_future(start_in_daemon(call, name))
