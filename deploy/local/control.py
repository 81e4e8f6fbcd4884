"""What the commands do: up, down, status, start, stop, restart."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from deploy.local import kafka, postgres, process, rabbitmq, redis
from deploy.local.install import require, say
from deploy.local.places import services_dir
from deploy.local.server import Refused, Server, Silent, Trouble
from deploy.local.wire import HOST, next_free_port

SERVERS = {
    server.name: server for server in (postgres.SERVER, redis.SERVER, rabbitmq.SERVER, kafka.SERVER)
}
_READY_WITHIN_S = 90.0
_STOPPED_WITHIN_S = 30.0


@dataclass(frozen=True)
class Found:
    """What a look at one server showed; `said` is its version, or why it can't be used."""

    server: Server
    port: int
    state: Literal["answers", "silent", "refuses"]
    said: str
    record: process.Record | None

    @property
    def is_own(self) -> bool:
        """Whether it runs and we started it."""
        return self.record is not None and self.record.port == self.port


def look(server: Server, offset: int = 0) -> Found:
    """Ask one server: our own where it runs, else whatever holds the standard port."""
    record = process.recall(_record_path(server))
    running = record if record is not None and process.alive(record) else None
    port = running.port if running else server.port + offset
    try:
        version = server.probe(port)
        return Found(server, port, "answers", (running and server.version) or version, running)
    except Silent as reason:
        return Found(server, port, "silent", str(reason), running)
    except Refused as reason:
        return Found(server, port, "refuses", str(reason), running)


def up(offset: int = 0, *, own: bool = False) -> dict[str, str]:
    """Make all four servers answer; returns their URLs by setting, also in `services.env`.

    Idempotent. `offset` shifts the standard ports, for a second set beside the first. With `own`
    only servers that were started from here are used, so that they may be emptied and killed.

    Raises:
        Trouble: a server can't be had; says what is missing.
    """
    with _lock():
        found = _look_at_all(offset, own)
        if require(one.server for one in found if one.state != "answers" and not one.is_own):
            found = _look_at_all(offset, own)  # a package may have started one
        ports = {one.server.name: _begin(one) for one in found}
        for one in found:
            if one.state != "answers":
                _await(one.server, ports[one.server.name])
        urls = {
            server.setting: server.url.format(port=ports[name]) for name, server in SERVERS.items()
        }
        (services_dir() / "services.env").write_text(environment_text(urls))
    return urls


def _look_at_all(offset: int, own: bool) -> list[Found]:
    found = [look(server, offset) for server in SERVERS.values()]
    if own:
        found = [_disowned(one) if one.state == "answers" else one for one in found]
    return found


def _disowned(one: Found) -> Found:
    """Take what somebody else started for a port that is taken."""
    return one if one.is_own else replace(one, state="refuses", said="not started from here")


def environment_text(urls: dict[str, str]) -> str:
    """Return `services.env`: one NAME=value a line, readable by a shell and by Docker."""
    return "".join(f"{name}={url}\n" for name, url in urls.items())


def down() -> None:
    """Stop what we started, data kept; whatever else answers stays."""
    with _lock():
        for server in reversed(SERVERS.values()):
            if _own(server) is not None:
                _stop(server, kill=False)
            record = process.recall(_record_path(server))
            if record is not None and server.clean_up is not None:
                server.clean_up(record.port)


def start(name: str) -> None:
    """Start a server of ours that was stopped, on the port it had, and wait until it answers."""
    with _lock():
        _start(SERVERS[name])


def stop(name: str, *, kill: bool = False) -> None:
    """Stop a server of ours in order, or with SIGKILL.

    Raises:
        Trouble: it isn't ours, or doesn't end.
    """
    with _lock():
        _stop(SERVERS[name], kill=kill)


def restart(name: str, *, kill: bool = False) -> None:
    """Stop a server of ours, start it again on the same port, and wait until it answers."""
    with _lock():
        _stop(SERVERS[name], kill=kill)
        _start(SERVERS[name])


def status() -> bool:
    """Print a line for each server; True when all answer."""
    found = [look(server) for server in SERVERS.values()]
    for one in found:
        say(status_line(one))
    return all(one.state == "answers" for one in found)


def status_line(one: Found) -> str:
    """Return name, address, what it said, and whose it is."""
    whose = f"own, pid {one.record.pid}" if one.record is not None else "existing"
    said = one.said if one.state == "answers" else f"{one.state}: {one.said}"
    if one.state == "silent" and one.record is None:
        whose = "not started"
    return f"{one.server.title:<13} {HOST}:{one.port:<6} {said:<18} {whose}"


def _begin(one: Found) -> int:
    """Start what doesn't answer; returns the port, without waiting for an answer."""
    if one.state == "answers" or one.is_own:
        say(f"{one.server.title}: {'ours' if one.is_own else 'already'} on {HOST}:{one.port}")
        return one.port
    port = one.port
    if one.state == "refuses":
        port = next_free_port(one.port + 10)  # a server holds ports beside its own
        say(f"{one.server.title}: {HOST}:{one.port} is taken ({one.said}), so ours gets {port}")
    return _spawn(one.server, port)


def _spawn(server: Server, port: int) -> int:
    say(f"{server.title}: starting on {HOST}:{port}")
    launch = server.prepare(services_dir() / server.name, port)
    process.remember(_record_path(server), process.spawn(launch, _log_path(server), port))
    return port


def _start(server: Server) -> None:
    record = process.recall(_record_path(server))
    if record is None:
        raise Trouble(f"{server.title} was never started from here")
    if not process.alive(record):
        _spawn(server, record.port)
    _await(server, record.port)


def _stop(server: Server, *, kill: bool) -> None:
    record = _own(server)
    if record is None:
        raise Trouble(f"{server.title} isn't running, or wasn't started from here")
    say(f"{server.title}: {'killing' if kill else 'stopping'} pid {record.pid}")
    if kill:
        process.kill(record)
    elif not process.terminate(record, server.stop_signal, _STOPPED_WITHIN_S):
        raise Trouble(f"{server.title}: pid {record.pid} still runs {_STOPPED_WITHIN_S:.0f} s on")


def _own(server: Server) -> process.Record | None:
    record = process.recall(_record_path(server))
    return record if record is not None and process.alive(record) else None


def _await(server: Server, port: int) -> None:
    """Wait until a server of ours answers; a process that ended is told at once."""
    said = ""

    def answers_or_ended() -> bool:
        nonlocal said
        ended = _own(server) is None
        try:
            server.probe(port)
        except (Silent, Refused) as reason:
            said = str(reason)
            return ended
        said = ""
        return True

    process.until(answers_or_ended, _READY_WITHIN_S)
    if said:
        log = _log_path(server)
        end = process.last_lines(log)
        raise Trouble(f"{server.title} didn't come up ({said}); the end of {log}:\n{end}")


def _record_path(server: Server) -> Path:
    return services_dir() / f"{server.name}.json"


def _log_path(server: Server) -> Path:
    return services_dir() / f"{server.name}.log"


@contextmanager
def _lock() -> Iterator[None]:
    """Let one command at a time change the servers; it is freed when the process ends."""
    services_dir().mkdir(parents=True, exist_ok=True)
    with (services_dir() / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run is at work on the servers: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
