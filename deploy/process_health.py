"""Answer whether a process lives and is ready, for Kubernetes' probes.

The answers come from a thread of their own, so that a hanging event loop is reported, too.
"""

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from actors.shared.health.facts import Unreachable
from actors.shared.supervisor import is_ready
from deploy.event_loops import hanging
from deploy.server_probes import ServerProbes

LIVE: Final = "/health/live"
READY: Final = "/health/ready"
ANSWER_S: Final = 3.0
"""How long an event loop may take to answer."""


class ProcessHealth:
    """What the running event loop's process answers."""

    def __init__(self, servers: ServerProbes, *, answer_s: float = ANSWER_S) -> None:
        self._servers = servers
        self._loop = asyncio.get_running_loop()
        self._answer_s = answer_s

    def hanging(self) -> list[str]:
        """Say which event loops don't answer: the main one, and the actors' where it is."""
        return hanging(self._loop, self._answer_s)

    def unready(self) -> list[str]:
        """Say why the process isn't ready: it starts or ends, or servers don't answer it."""
        if not is_ready():
            return ["this process starts or ends"]
        return [
            f"{server} doesn't answer"
            for server, part in self._servers.read().items()
            if isinstance(part, Unreachable)
        ]


def with_health(health: ProcessHealth, otherwise: WSGIApplication) -> WSGIApplication:
    """Serve `/health/live` and `/health/ready`: 200, or 503 with the reasons; else `otherwise`."""
    checks: dict[str, tuple[str, Callable[[], list[str]]]] = {
        LIVE: ("live", health.hanging),
        READY: ("ready", health.unready),
    }

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path not in checks:
            return otherwise(environ, start_response)
        name, check = checks[path]
        reasons = check()
        status = "503 Service Unavailable" if reasons else "200 OK"
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps({name: not reasons, "reasons": reasons}).encode()]

    return serve
