"""Tell supervisors what state this process is in: systemd is notified, others ask `is_ready`.

Source: sd_notify(3): a datagram of NAME=value lines to the socket in `NOTIFY_SOCKET`, whose name
begins with @ in the abstract namespace (read 2026-11-26).
"""

import asyncio
import os
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
ALIVE: Final = "WATCHDOG=1"
SEND_S: Final = 0.5
"""How long systemd may take to receive a state."""


_ready: Final = threading.Event()


def is_ready() -> bool:
    """Return whether this process has started, and isn't ending."""
    return _ready.is_set()


def notify(state: str) -> None:
    """Send a state to systemd, if it is the supervisor; when it is unreachable, it is ignored."""
    if state == READY:
        _ready.set()
    elif state == STOPPING:
        _ready.clear()
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
        sending.settimeout(SEND_S)
        sending.sendto(state.encode(), address)


async def report_alive(until_alive: Callable[[], Awaitable[None]]) -> None:
    """Report twice within the watchdog's time that this event loop works; ends without one.

    A report waits for `until_alive`: for what has to work besides.
    """
    try:
        limit_s = int(os.environ.get("WATCHDOG_USEC", "")) / 1e6
    except ValueError:
        return
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return
    while True:
        await until_alive()
        notify(ALIVE)
        await asyncio.sleep(limit_s / 2)
