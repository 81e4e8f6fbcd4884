"""The commands: up, down, status, start, stop, restart."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from deploy.local import kafka, postgres, process, rabbitmq, redis
from deploy.local.install import install_missing, print_line
from deploy.local.paths import services_dir
from deploy.local.ports import HOST, next_free_server_port
from deploy.local.server import (
    Inspection,
    LocalServerError,
    NotListening,
    ProcessRecord,
    Refused,
    Server,
)

SERVERS = {
    server.name: server for server in (postgres.SERVER, redis.SERVER, rabbitmq.SERVER, kafka.SERVER)
}
_READY_WITHIN_S = 90.0
_STOPPED_WITHIN_S = 30.0


def inspect(server: Server, port: int | None = None) -> Inspection:
    """Probe one server: our own if it runs, else the one that listens on `port`.

    The default of `port` is the port of the last `up`, or the standard one.
    """
    running = _running(server)
    if running is not None:
        port = running.port
    elif port is None:
        port = _used_ports().get(server.name, server.port)
    try:
        version = server.probe(port)
        return Inspection(
            server, port, "available", (running and server.version) or version, running
        )
    except NotListening as reason:
        return Inspection(server, port, "not listening", str(reason), running)
    except Refused as reason:
        return Inspection(server, port, "refused", str(reason), running)


def up(offset: int = 0, *, own: bool = False) -> dict[str, str]:
    """Make all four servers available; return their URLs by setting, and write `services.env`.

    Idempotent. `offset` shifts the standard ports, for a second set of servers. With `own` it uses
    only servers that it has started, so that tests may empty and kill them.

    Raises:
        LocalServerError: a server can't be started; the message has what is missing.
    """
    with _lock():
        found = _inspect_all(offset, own)
        if install_missing(one for one in found if one.state != "available" and one.record is None):
            found = _inspect_all(offset, own)  # a package may have started one
        ports = {one.server.name: _start_unless_running(one) for one in found}
        for one in found:
            if one.state != "available":
                _wait_until_available(one.server, ports[one.server.name])
        urls: dict[str, str] = {}
        for name, server in SERVERS.items():
            urls[server.setting] = server.url.format(port=ports[name])
            if server.more_settings is not None and _running(server) is not None:
                urls |= server.more_settings(ports[name])
        environment_file().write_text(environment_text(urls))
    return urls


def _inspect_all(offset: int, own: bool) -> list[Inspection]:
    found = [inspect(server, server.port + offset) for server in SERVERS.values()]
    return [_refuse_foreign(one) for one in found] if own else found


def _refuse_foreign(one: Inspection) -> Inspection:
    """Treat the port of a server that we didn't start as occupied."""
    if one.state != "available" or one.record is not None:
        return one
    return replace(one, state="refused", detail="we didn't start it")


def environment_file() -> Path:
    """Return the path of `services.env`, which the last `up` wrote."""
    return services_dir() / "services.env"


def environment_text(urls: dict[str, str]) -> str:
    """Return `services.env`: lines of NAME=value, readable by a shell and by Docker."""
    return "".join(f"{name}={url}\n" for name, url in urls.items())


def _used_ports() -> dict[str, int]:
    """Read the ports that the last `up` used, by server."""
    if not environment_file().exists():
        return {}
    lines = environment_file().read_text().splitlines()
    urls = dict(line.split("=", 1) for line in lines)
    ports = {name: urlsplit(urls.get(one.setting, "")).port for name, one in SERVERS.items()}
    return {name: port for name, port in ports.items() if port is not None}


def down() -> None:
    """Stop the servers that we started; keep their data."""
    with _lock():
        for server in reversed(SERVERS.values()):
            if _running(server) is not None:
                _stop(server, kill=False)
            record = process.read_record(_record_path(server))
            if record is not None and server.clean_up is not None:
                server.clean_up(record.port)


def start(name: str) -> None:
    """Start a stopped server of ours on its last port, and wait until it is available."""
    with _lock():
        _start(SERVERS[name])


def stop(name: str, *, kill: bool = False) -> None:
    """Stop a server of ours with its stop signal, or with SIGKILL.

    Raises:
        LocalServerError: we didn't start it, or it doesn't end.
    """
    with _lock():
        _stop(SERVERS[name], kill=kill)


def restart(name: str, *, kill: bool = False) -> None:
    """Stop a server of ours, start it on the same port, and wait until it is available."""
    with _lock():
        _stop(SERVERS[name], kill=kill)
        _start(SERVERS[name])


def status() -> bool:
    """Print a line for each server; return whether all are available."""
    found = [inspect(server) for server in SERVERS.values()]
    for one in found:
        print_line(status_line(one))
    return all(one.state == "available" for one in found)


def status_line(one: Inspection) -> str:
    """Return name, address, version or reason, and whether we started it."""
    origin = f"own, pid {one.record.pid}" if one.record is not None else "existing"
    if one.state == "not listening" and one.record is None:
        origin = "not started"
    detail = one.detail if one.state == "available" else f"{one.state}: {one.detail}"
    return f"{one.server.title:<13} {HOST}:{one.port:<6} {detail:<18} {origin}"


def _start_unless_running(one: Inspection) -> int:
    """Start a server that isn't available; return its port without waiting for the server."""
    title, address = one.server.title, f"{HOST}:{one.port}"
    if one.state == "available" or one.record is not None:
        print_line(f"{title}: {'existing' if one.record is None else 'own'} server on {address}")
        return one.port
    port = one.port
    if one.state == "refused":
        port = next_free_server_port(one.port)
        print_line(f"{title}: {address} can't be used ({one.detail}), using port {port}")
    return _spawn(one.server, port)


def _spawn(server: Server, port: int) -> int:
    print_line(f"{server.title}: starting on {HOST}:{port}")
    launch = server.prepare(services_dir() / server.name, port)
    process.write_record(_record_path(server), process.spawn(launch, _log_path(server), port))
    return port


def _start(server: Server) -> None:
    record = process.read_record(_record_path(server))
    if record is None:
        raise LocalServerError(f"{server.title} was never started by `up`")
    if not process.is_running(record):
        _spawn(server, record.port)
    _wait_until_available(server, record.port)


def _stop(server: Server, *, kill: bool) -> None:
    record = _running(server)
    if record is None:
        raise LocalServerError(f"{server.title} isn't running, or wasn't started by `up`")
    print_line(f"{server.title}: {'killing' if kill else 'stopping'} pid {record.pid}")
    if kill:
        process.kill(record)
    elif not process.terminate(record, server.stop_signal, _STOPPED_WITHIN_S):
        raise LocalServerError(
            f"{server.title}: pid {record.pid} still runs after {_STOPPED_WITHIN_S:.0f} s"
        )


def _running(server: Server) -> ProcessRecord | None:
    record = process.read_record(_record_path(server))
    return record if record is not None and process.is_running(record) else None


def _wait_until_available(server: Server, port: int) -> None:
    """Wait until a server of ours is available.

    Raises:
        LocalServerError: its process has ended, or it isn't available in time.
    """
    reason = ""

    def available_or_ended() -> bool:
        nonlocal reason
        ended = _running(server) is None
        try:
            server.probe(port)
        except (NotListening, Refused) as error:
            reason = str(error)
            return ended
        reason = ""
        return True

    process.wait_until(available_or_ended, _READY_WITHIN_S)
    if reason:
        log = _log_path(server)
        end = process.last_lines(log)
        raise LocalServerError(f"{server.title} didn't start ({reason}); the end of {log}:\n{end}")


def _record_path(server: Server) -> Path:
    return services_dir() / f"{server.name}.json"


def _log_path(server: Server) -> Path:
    return services_dir() / f"{server.name}.log"


@contextmanager
def _lock() -> Iterator[None]:
    """Lock the servers' directory, so that one command at a time changes the servers."""
    services_dir().mkdir(parents=True, exist_ok=True)
    with (services_dir() / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print_line("another command is changing the servers: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
